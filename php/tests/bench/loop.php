<?php

declare(strict_types=1);

/*
 * What the loop itself costs for one request: php tests/bench/loop.php [ROUNDS]
 *
 * Both ends of a socket pair are in this one process, so that nothing sleeps and nothing is woken:
 * what is left is the worker's two system calls, its PHP, and the other end's part, which is
 * measured apart and taken off.
 */

use Folk\Process\Loop;
use Folk\Process\Relay;
use Folk\Process\SocketRelay;
use Folk\Process\StreamRelay;
use Folk\Request;
use Folk\Response;
use Folk\Tests\Support\WorkerProcess;

require __DIR__ . '/../bootstrap.php';

/** Plays the server just before the worker would wait for it. */
final class Bench implements Relay
{
    public int $left = 0;

    public function __construct(private Relay $worker, private Relay $server, private string $request)
    {
    }

    public function receive(?string &$body = null): string
    {
        if ($this->left-- === 0) {
            Folk\Worker::stop();

            return "\x13\x01\0\0\0\0\0\0\0\0\0\0";
        }
        $this->server->send($this->request);

        return $this->worker->receive($body);
    }

    public function send(string $bytes, string $more = ''): void
    {
        $this->worker->send($bytes, $more);
        $this->server->receive();
    }

    public function isTorn(): bool
    {
        return false;
    }
}

/** @return array{Relay, Relay} */
function pair(string $kind): array
{
    if ($kind === 'sockets') {
        \socket_create_pair(\AF_UNIX, \SOCK_STREAM, 0, $pair);

        return [new SocketRelay($pair[0]), new SocketRelay($pair[1])];
    }
    $pair = \stream_socket_pair(\STREAM_PF_UNIX, \STREAM_SOCK_STREAM, 0);

    return [new StreamRelay($pair[0], $pair[0]), new StreamRelay($pair[1], $pair[1])];
}

$rounds = (int) ($argv[1] ?? 300000);
$request = WorkerProcess::encode(WorkerProcess::context('GET', '/hello?a=1', [
    'host' => ['127.0.0.1:8080'], 'user-agent' => ['Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0'],
    'accept' => ['text/html,application/xhtml+xml'], 'accept-encoding' => ['gzip, deflate, br, zstd'], 'accept-language' => ['en'],
]));
$handlers = [
    'a string, nothing read' => static fn(Request $request) => "Hello, world!\n",
    'a string, the path read' => static fn(Request $request) => $request->path() === '/hello' ? "Hello, world!\n" : '',
    'an array' => static fn(Request $request) => ['hello' => 'world'],
    'a Response' => static fn(Request $request) => new Response("Hello, world!\n"),
];
if (\class_exists(Nyholm\Psr7\Factory\Psr17Factory::class)) {
    $handlers['PSR-15'] = Folk\Worker::psr15(
        static fn() => new Nyholm\Psr7\Response(200, ['Content-Type' => 'text/html'], "Hello, world!\n"),
        new Nyholm\Psr7\Factory\Psr17Factory(),
    );
}

foreach (['sockets', 'streams'] as $kind) {
    // The other end's two calls, and the same answer's bytes.
    [$a, $b] = pair($kind);
    $answer = \str_repeat('x', 116);
    $answer = Folk\Process\Frame::answer(\str_repeat('x', 86), 14) . \substr($answer, 0, 14);
    $started = \hrtime(true);
    for ($round = 0; $round < $rounds; ++$round) {
        $a->send($request);
        $b->receive();
        $b->send($answer);
        $a->receive();
    }
    $both = (\hrtime(true) - $started) / 1000 / $rounds;
    \printf("%s: the four system calls alone %.2f µs\n", $kind, $both);
    foreach ($handlers as $name => $handler) {
        [$worker, $server] = pair($kind);
        $bench = new Bench($worker, $server, $request);
        $bench->left = $rounds;
        $loop = new Loop($bench, $handler, [], null, 0);
        $started = \hrtime(true);
        $loop->run();
        $all = (\hrtime(true) - $started) / 1000 / $rounds;
        \printf("  %-24s %5.2f µs a request (%.2f of it PHP)\n", $name, $all - $both / 2, $all - $both);
    }
}
