<?php

declare(strict_types=1);

namespace Folk\Tests\Unit;

use Folk\Response;
use PHPUnit\Framework\TestCase;

final class ResponseTest extends TestCase
{
    public function testEachConstructorNamesItsType(): void
    {
        $types = [
            'text/plain; charset=UTF-8' => Response::text('x'),
            'text/html; charset=UTF-8' => Response::html('x'),
            'application/json' => Response::json(['x']),
            'text/csv' => Response::text('x', 200, ['Content-Type' => 'text/csv']),
            'text/xml' => new Response('x', 200, ['content-type' => 'text/xml']),
        ];
        foreach ($types as $type => $response) {
            self::assertSame(['content-type' => [$type]], $response->headers());
        }
        self::assertSame('text/html; charset=UTF-8', (new Response('x'))->header('Content-Type'));
        self::assertSame([], (new Response())->headers());
        self::assertSame([], Response::stream(['x'])->headers());
    }

    public function testJsonIsWrittenPlainly(): void
    {
        self::assertSame('{"a":"/ü","b":1.0}', Response::json(['a' => '/ü', 'b' => 1.0])->body());
        $this->expectException(\JsonException::class);
        Response::json("\xff");
    }

    public function testARedirect(): void
    {
        $response = Response::redirect('/there', 303);
        self::assertSame([303, '/there', ''], [$response->status(), $response->header('location'), $response->body()]);
    }

    public function testAFileIsLeftToTheServer(): void
    {
        $response = Response::file(__DIR__ . '/../Unit/ResponseTest.php', 'text/x-php', "über \"x\".php");
        self::assertSame(__FILE__, $response->header('x-sendfile'));
        self::assertSame('text/x-php', $response->header('content-type'));
        self::assertSame(
            'attachment; filename="__ber _x_.php"; filename*=UTF-8\'\'%C3%BCber%20%22x%22.php',
            $response->header('content-disposition'),
        );
        $this->expectExceptionMessage('no such file: nowhere.txt');
        Response::file('nowhere.txt');
    }

    public function testCopiesLeaveTheOriginalAlone(): void
    {
        $first = new Response('x', 200, ['X-A' => '1', '123' => 'number']);
        $second = $first->withStatus(404)->withHeader('x-a', '2')->withAddedHeader('X-A', ['3', 4])->withHeader('X-B', 1.5)
            ->withAddedHeader('123', 'two')->withoutHeader('CONTENT-TYPE')->withBody('');
        self::assertSame([200, '1', 'x'], [$first->status(), $first->header('x-a'), $first->body()]);
        self::assertSame(404, $second->status());
        self::assertEquals(['x-a' => ['2', '3', '4'], 'x-b' => ['1.5'], '123' => ['number', 'two']], $second->headers());
    }

    public function testNamesThatDifferInCaseAreOneHeader(): void
    {
        self::assertSame(['x-a' => ['1', '2']], (new Response('', 200, ['X-A' => '1', 'x-a' => '2']))->headers());
    }

    public function testHeadersCannotBeSmuggled(): void
    {
        foreach ([['x' => "a\r\nset-cookie: b"], ['x' => "a\0"], ["x\r\ny" => 'a'], ['x y' => 'a'], ['' => 'a'], ['x' => [['nested']]]] as $headers) {
            try {
                new Response('', 200, $headers);
            } catch (\InvalidArgumentException $error) {
                self::assertStringContainsString('header', $error->getMessage());
                continue;
            }
            self::fail(\json_encode($headers));
        }
        self::assertSame("tab\tand \xff", (new Response('', 200, ['x' => "tab\tand \xff"]))->header('x'));
    }

    public function testCookies(): void
    {
        $response = (new Response())->withCookie('a', 'b; c')->withCookie('d', '', 0, '/x', 'example.org', true, false, 'None')
            ->withCookie('e', '1', 60);
        self::assertSame([
            'a=b%3B%20c; Path=/; HttpOnly; SameSite=Lax',
            'd=; Max-Age=0; Path=/x; Domain=example.org; Secure; SameSite=None',
            'e=1; Max-Age=60; Path=/; HttpOnly; SameSite=Lax',
        ], $response->headers()['set-cookie']);
        foreach ([['a b', '/'], ['a', '/; Domain=evil'], ["a\n", '/']] as [$name, $path]) {
            try {
                $response->withCookie($name, 'x', path: $path);
            } catch (\InvalidArgumentException) {
                continue;
            }
            self::fail("$name $path");
        }
    }

    public function testStatusesAndBodiesAreChecked(): void
    {
        foreach ([[42, 200], [null, 100], ['', 1000], [new \stdClass(), 200]] as [$body, $status]) {
            try {
                new Response($body, $status);
            } catch (\InvalidArgumentException $error) {
                self::assertNotSame('', $error->getMessage());
                continue;
            }
            self::fail("status $status");
        }
        self::assertSame('', (new Response(null))->body());
    }
}
