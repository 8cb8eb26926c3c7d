<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use Folk\Request;
use Folk\Tests\Support\WorkerProcess;
use PHPUnit\Framework\TestCase;

final class RequestTest extends TestCase
{
    public function testWhatTheServerSentIsThere(): void
    {
        $headers = ['host' => ['example.org:8080'], 'accept' => ['a', 'b'], 'cookie' => ['x=1', 'y=2']];
        $request = self::received(WorkerProcess::context('PATCH', '/a%20b?c=d', $headers), "body\0\xff");
        self::assertSame('PATCH', $request->method());
        self::assertSame('/a%20b?c=d', $request->target());
        self::assertSame('/a%20b', $request->path());
        self::assertSame('c=d', $request->queryString());
        self::assertSame($headers, $request->headers());
        self::assertSame('a, b', $request->header('Accept'));
        self::assertSame('x=1; y=2', $request->header('Cookie'));
        self::assertNull($request->header('none'));
        self::assertSame('default', $request->header('none', 'default'));
        self::assertSame("body\0\xff", $request->body());
        self::assertSame(['192.0.2.7', 40000], [$request->remoteAddress(), $request->remotePort()]);
        self::assertSame(['127.0.0.1', 8080], [$request->serverAddress(), $request->serverPort()]);
        self::assertFalse($request->isSecure());
        self::assertSame(['http', 'example.org:8080', 'example.org'], [$request->scheme(), $request->authority(), $request->host()]);
        self::assertSame('http://example.org:8080/a%20b?c=d', $request->uri());
        self::assertSame(['HTTP/1.1', 'request-1'], [$request->protocol(), $request->id()]);
        self::assertNull($request->parsedBody());
        self::assertSame([], $request->files());
    }

    public function testTheOrderOfQuestionsDoesNotMatter(): void
    {
        foreach ([['method', 'body', 'target', 'id'], ['body', 'path', 'method', 'id'], ['id', 'target', 'method', 'body'],
            ['target', 'id', 'method', 'body']] as $order) {
            $request = self::received(WorkerProcess::context('DELETE', '/x"y'), 'body');
            foreach ($order as $question) {
                self::assertSame(
                    ['method' => 'DELETE', 'target' => '/x"y', 'path' => '/x"y', 'body' => 'body', 'id' => 'request-1'][$question],
                    $request->$question(),
                );
            }
        }
    }

    public function testLongTargetsAndMethodsAreReadWhole(): void
    {
        $target = '/' . \str_repeat('a":;', 5000);
        $request = self::received(WorkerProcess::context('M-SEARCH', $target));
        self::assertSame(['M-SEARCH', $target], [$request->method(), $request->target()]);
    }

    public function testTheQueryFollowsPhpsBracketRules(): void
    {
        $request = Request::create(target: '/?a[b][]=1&a[b][]=2&c=%FF&d&e=x?y');
        self::assertSame(['a' => ['b' => ['1', '2']], 'c' => "\xff", 'd' => '', 'e' => 'x?y'], $request->query());
        self::assertSame("\xff", $request->queryParam('c'));
        self::assertSame('none', $request->queryParam('z', 'none'));
        self::assertSame([], Request::create()->query());
    }

    public function testCookiesAreDecodedAndTheFirstOfANameCounts(): void
    {
        $request = Request::create(headers: ['Cookie' => ['a=1; b=%20x;c=; =no; bare; a=2', 'd="q"; e=x=y']]);
        self::assertSame(['a' => '1', 'b' => ' x', 'c' => '', 'd' => '"q"', 'e' => 'x=y'], $request->cookies());
        self::assertSame('1', $request->cookie('a'));
        self::assertNull($request->cookie('z'));
        self::assertSame([], Request::create()->cookies());
    }

    public function testTheAuthorityFallsBackToTheAddress(): void
    {
        $context = WorkerProcess::context();
        $context[4] = '';
        self::assertSame('127.0.0.1:8080', self::received($context)->authority());
        [$context[5], $context[8], $context[9]] = [true, '::1', 443];
        $request = self::received($context);
        self::assertSame(['[::1]', '[::1]', 'https://[::1]/'], [$request->authority(), $request->host(), $request->uri()]);
    }

    public function testHostsOfEveryFormLoseTheirPort(): void
    {
        foreach (['a' => 'a', 'a:1' => 'a', '[::1]' => '[::1]', '[::1]:80' => '[::1]', 'a:' => 'a'] as $authority => $host) {
            self::assertSame($host, Request::create(headers: ['host' => $authority])->host());
        }
    }

    public function testOtherFormsOfTargetHaveAPathAndAUri(): void
    {
        $request = Request::create(target: 'http://other/x/y?z');
        self::assertSame(['/x/y', 'z', 'http://other/x/y?z'], [$request->path(), $request->queryString(), $request->uri()]);
        self::assertSame('/', Request::create(target: 'http://other')->path());
        $request = Request::create('OPTIONS', '*', ['host' => 'here']);
        self::assertSame(['*', 'http://here'], [$request->path(), $request->uri()]);
    }

    public function testAContextThatIsNoneIsRefused(): void
    {
        $this->expectException(\UnexpectedValueException::class);
        self::received(['http', 'GET', '/'])->headers();
    }

    public function testObjectsInAContextAreNotMade(): void
    {
        $context = WorkerProcess::context('GET', '/', ['x' => [new \ArrayObject()]]);
        self::assertInstanceOf(\__PHP_Incomplete_Class::class, self::received($context)->headers()['x'][0]);
    }

    public function testJsonBodies(): void
    {
        self::assertSame(['a' => [1]], Request::create(body: '{"a":[1]}')->json());
        $this->expectException(\JsonException::class);
        Request::create(body: '{')->json();
    }

    public function testRequestsCanBeMadeForTests(): void
    {
        $files = ['f' => ['name' => 'n', 'type' => '', 'size' => 0, 'tmp_name' => '', 'error' => 4]];
        $request = Request::create('POST', '/x?y=1', ['X-A' => ['1', '2'], 'x-a' => '3'], '', ['p' => '1'], $files, true, '::1');
        self::assertSame(['x-a' => ['1', '2', '3']], $request->headers());
        self::assertSame([['p' => '1'], $files, 'https://localhost/x?y=1', '::1'], [
            $request->parsedBody(), $request->files(), $request->uri(), $request->remoteAddress(),
        ]);
        $request->earlyHints(['link' => '</a>']); // nobody to send them to, and no error
    }

    /** @param list<mixed> $context */
    private static function received(array $context, string $body = ''): Request
    {
        $frame = WorkerProcess::encode($context, $body);

        return new Request($frame, 16, \strlen(\serialize($context)));
    }
}
