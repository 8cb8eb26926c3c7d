<?php

declare(strict_types=1);

namespace Folk\Tests\EndToEnd;

use Folk\Tests\Support\WorkerProcess;
use Nyholm\Psr7\Factory\Psr17Factory;
use PHPUnit\Framework\TestCase;

final class PsrTest extends TestCase
{
    private WorkerProcess $worker;

    protected function setUp(): void
    {
        if (!\class_exists(Psr17Factory::class)) {
            self::markTestSkipped('needs nyholm/psr7');
        }
        $this->worker = new WorkerProcess('psr.php');
    }

    protected function tearDown(): void
    {
        unset($this->worker);
    }

    public function testARequestIsThereInFull(): void
    {
        $headers = ['host' => ['example.org:8080'], 'x-a' => ["1\xff", '2'], 'cookie' => ['a=1; b=%20', 'c=3'],
            'content-type' => ['text/plain'], 'proxy' => ['evil'], 'under_score' => ['x']];
        $seen = \unserialize($this->worker->http('PUT', '/show/%C3%BC?q[]=1&q[]=2', $headers, "body\0")->body);
        self::assertSame('PUT', $seen['method']);
        self::assertSame('http://example.org:8080/show/%C3%BC?q[]=1&q[]=2', \urldecode(\str_replace('%C3%BC', '%25C3%25BC', $seen['uri'])));
        self::assertSame('1.1', $seen['version']);
        self::assertSame(["1\xff", '2'], $seen['headers']['x-a']);
        self::assertSame(['q' => ['1', '2']], $seen['query']);
        self::assertSame(['a' => '1', 'b' => ' ', 'c' => '3'], $seen['cookies']);
        self::assertSame([null, "body\0", [], 'request-1'], [$seen['parsed'], $seen['body'], $seen['files'], $seen['id']]);
        $server = $seen['server'];
        self::assertSame(['PUT', '/show/%C3%BC?q[]=1&q[]=2', 'q[]=1&q[]=2', 'HTTP/1.1', '192.0.2.7', 40000, 'example.org', 8080], [
            $server['REQUEST_METHOD'], $server['REQUEST_URI'], $server['QUERY_STRING'], $server['SERVER_PROTOCOL'],
            $server['REMOTE_ADDR'], $server['REMOTE_PORT'], $server['SERVER_NAME'], $server['SERVER_PORT'],
        ]);
        self::assertSame("1\xff, 2", $server['HTTP_X_A']);
        self::assertSame('text/plain', $server['CONTENT_TYPE']);
        self::assertArrayNotHasKey('HTTP_PROXY', $server);
        self::assertArrayNotHasKey('HTTP_UNDER_SCORE', $server);
        self::assertArrayNotHasKey('HTTPS', $server);
    }

    public function testFormsAndNestedUploads(): void
    {
        $path = \tempnam(\sys_get_temp_dir(), 'folk-upload-');
        \file_put_contents($path, "content\xff");
        $file = ['name' => 'a.txt', 'type' => 'text/plain', 'size' => 8, 'tmp_name' => $path, 'error' => 0];
        $none = ['name' => '', 'type' => '', 'size' => 0, 'tmp_name' => '', 'error' => 4];
        $uploads = ['one' => $file, 'many' => [$file, $none], 'odd' => ['error' => ['tmp_name' => $file]]];
        try {
            $seen = \unserialize($this->worker->http('POST', '/form', [], '', ['a' => ['b' => ['c']]], $uploads)->body);
        } finally {
            \unlink($path);
        }
        self::assertSame(['a' => ['b' => ['c']]], $seen['parsed']);
        self::assertSame([
            ['one', 0, 'a.txt', 'text/plain', 8, 0, "content\xff"],
            ['many', 0, 'a.txt', 'text/plain', 8, 0, "content\xff"],
            ['many', 1, '', '', 0, 4, null],
            ['odd', 'tmp_name', 'a.txt', 'text/plain', 8, 0, "content\xff"],
        ], $seen['files']);
    }

    public function testAnUploadWhoseFileIsGoneHasAnErrorOfItsOwn(): void
    {
        $file = ['name' => 'a', 'type' => '', 'size' => 8, 'tmp_name' => '/nowhere/at/all', 'error' => 0];
        $seen = \unserialize($this->worker->http('POST', '/form', [], '', [], ['f' => $file])->body);
        self::assertSame(\UPLOAD_ERR_CANT_WRITE, $seen['files'][0][5]);
    }

    public function testTargetsThatNoUriParserLikesAreServed(): void
    {
        self::assertSame('*', \unserialize($this->worker->http('OPTIONS', '*')->body)['target']);
        $answer = $this->worker->get('//x:0/y?z');
        self::assertSame(200, $answer->status);
        self::assertSame('//x:0/y?z', \unserialize($answer->body)['server']['REQUEST_URI']);
    }

    public function testAnAuthorityThatNoUriParserLikesIsServed(): void
    {
        $context = WorkerProcess::context('GET', '/x?y=1');
        $context[4] = 'example.org:99999';
        $this->worker->request($context);
        self::assertSame('http://example.org/x?y=1', \unserialize($this->worker->answer()->body)['uri']);
    }

    public function testWhatTheImplementationRefusesIsABadRequest(): void
    {
        $answer = $this->worker->get('/show', ['x-a' => ["line\nbreak"]]);
        self::assertSame(400, $answer->status);
        self::assertStringStartsWith('bad request: ', $answer->body);
    }

    public function testResponsesKeepTheirHeaders(): void
    {
        $answer = $this->worker->get('/plain');
        self::assertSame([201, ['x-a' => ['1', '2']], ['plain']], [$answer->status, $answer->headers, $answer->parts]);
        $answer = $this->worker->get('/none');
        self::assertSame([204, [], ['']], [$answer->status, $answer->headers, $answer->parts]);
    }

    public function testLargeBodiesAreStreamedWithTheirLength(): void
    {
        $answer = $this->worker->get('/large');
        self::assertSame([(string) (3 << 20)], $answer->headers['content-length']);
        self::assertTrue($answer->body === \str_repeat('L', 3 << 20));
        self::assertGreaterThan(20, \count($answer->parts));
        self::assertGreaterThan(1, $answer->pings);
    }

    public function testALargeResponseThatIsKeptIsSentInFullEachTime(): void
    {
        foreach ([1, 2] as $ignored) {
            self::assertSame(2 << 20, \strlen($this->worker->get('/kept')->body));
        }
    }

    public function testBodiesOfUnknownSizeAreStreamedWithoutOne(): void
    {
        $answer = $this->worker->get('/unknown-size');
        self::assertSame([], $answer->headers);
        self::assertSame(['unknown', ''], $answer->parts);
    }
}
