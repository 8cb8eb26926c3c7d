<?php

declare(strict_types=1);

/* The application that most end-to-end tests talk to. */

use Folk\Request;
use Folk\Response;
use Folk\Task;
use Folk\Worker;

require __DIR__ . '/../../autoload.php';

if (($largest = get_cfg_var('folk_test.largest_frame')) !== false) {
    Folk\Process\Emitter::$largestFrame = (int) $largest;
}

final class Nowhere
{
}

$closed = 0;
$endless = static function () use (&$closed): Generator {
    try {
        for ($number = 0; ; ++$number) {
            yield "$number\n";
        }
    } finally {
        ++$closed;
    }
};

$handler = static function (Request $request) use (&$closed, $endless) {
    switch ($request->path()) {
        case '/hello':
            return "Hello, world!\n";
        case '/array':
            return ['a' => 1, 'path' => '/ü'];
        case '/null':
            return null;
        case '/object':
            return new Nowhere();
        case '/echo':
            return new Response($request->body(), 201, ['X-Length' => \strlen($request->body())]);
        case '/request':
            return Response::text(\serialize([
                $request->method(), $request->target(), $request->headers(), $request->parsedBody(), $request->files(),
            ]));
        case '/repeat':
            return (new Response('', 200, ['x-bytes' => "\xff\xfe", 'Set-Cookie' => ['a=1', 'b=2']]))->withAddedHeader('set-cookie', 'c=3');
        case '/large':
            return \str_repeat('0123456789', (int) $request->queryParam('n') / 10);
        case '/stream':
            return Response::stream((static function (): Generator {
                yield 'one';
                yield '';
                yield 'two';
            })(), 202, ['x-kind' => 'stream']);
        case '/head-first':
            return (static function (): Generator {
                yield '';
                yield 'late';
            })();
        case '/closure':
            return new Response(static fn() => ['a', 'b']);
        case '/resource':
            $file = \fopen('php://temp', 'w+');
            \fwrite($file, \str_repeat('r', 300000));
            \rewind($file);

            return Response::stream($file);
        case '/file-stream':
            $file = \fopen(__FILE__, 'rb');
            \fseek($file, 5);

            return Response::stream($file);
        case '/one-large-chunk':
            return Response::stream([\str_repeat('z', (5 << 19) + 1)]);
        case '/empty-stream':
            return Response::stream([], 203);
        case '/endless':
            return $endless();
        case '/closed':
            return Response::text((string) $closed);
        case '/throw':
            throw new RuntimeException('boom', 0, new LogicException('the cause'));
        case '/throw-before':
            return (static function (): Generator {
                throw new RuntimeException('before the first');
                yield '';
            })();
        case '/throw-midway':
            return (static function (): Generator {
                yield 'some';
                throw new RuntimeException('midway');
            })();
        case '/exit':
            exit(0);
        case '/exit-buffered':
            \ob_start();
            echo 'half a page';
            exit(0);
        case '/exit-midway':
            return (static function (): Generator {
                yield 'some';
                exit(0);
            })();
        case '/memory':
            \ini_set('memory_limit', '16M');
            for ($hoard = []; ; ) {
                $hoard[] = \str_repeat('x', 1000);
            }
            // no break
        case '/fatal':
            eval('class Twice {} class Twice {}');

            return '';
        case '/kept':
            // Made once, as an application does with a page that never changes.
            static $kept = [
                'string' => null, 'array' => null, 'closure' => null, 'generator' => null, 'resource' => null,
            ];
            $kind = (string) $request->queryParam('kind');

            return $kept[$kind] ??= new Response(match ($kind) {
                'string' => 'the same',
                'array' => ['the ', 'same'],
                'closure' => static fn(): array => ['the ', 'same'],
                'generator' => (static fn(): Generator => yield 'once')(),
                'resource' => \fopen('data:,once', 'rb'),
            });
        case '/length':
            return Response::text(\strlen($request->body()) . ' ' . \md5($request->body()));
        case '/long-fatal':
            \trigger_error(\str_repeat('x', 100_000), \E_USER_ERROR);
            // no break
        case '/strict':
            // What some applications do: every warning is thrown, even a silenced one.
            \set_error_handler(static fn(int $level, string $text) => throw new ErrorException($text, 0, $level));
            \ob_start(null, 0, \PHP_OUTPUT_HANDLER_STDFLAGS & ~\PHP_OUTPUT_HANDLER_REMOVABLE);

            return 'strict';
        case '/strict-exit':
            \set_error_handler(static fn(int $level, string $text) => throw new ErrorException($text, 0, $level));
            \ob_start(null, 0, \PHP_OUTPUT_HANDLER_STDFLAGS & ~\PHP_OUTPUT_HANDLER_REMOVABLE);
            exit(0);
        case '/strict-signals':
            \set_error_handler(static fn(int $level, string $text) => throw new ErrorException($text, 0, $level));
            \pcntl_async_signals(true);
            \pcntl_signal(\SIGUSR1, static fn() => \file_put_contents('php://stderr', "signal\n"), false);

            return 'strict';
        case '/echo-out':
            echo "\x14\x04 noise on standard output\n";
            \proc_close(\proc_open('echo noise of a child', [], $pipes));

            return 'quiet';
        case '/buffers':
            \ob_start();
            \ob_start();
            echo 'left in a buffer';

            return 'buffered';
        case '/level':
            return Response::text((string) \ob_get_level());
        case '/time-limit':
            \set_time_limit(7);

            return 'limited';
        case '/limit':
            return Response::text((string) \ini_get('max_execution_time'));
        case '/early':
            $request->earlyHints(['Link' => ['</a.css>; rel=preload', '</b.js>; rel=preload']]);
            $request->earlyHints(['link' => '</c.css>; rel=preload']);

            return 'after the hints';
        case '/early-too-late':
            return (static function () use ($request): Generator {
                yield 'begun';
                $request->earlyHints(['link' => '</late.css>']);
            })();
        case '/pid':
            return Response::text((string) \getmypid());
        case '/stop':
            Worker::stop();

            return 'the last';
        case '/fork':
            $child = \pcntl_fork();
            if ($child === 0) {
                exit(0);
            }
            \pcntl_waitpid($child, $status);

            return 'parent';
        case '/stdin':
            return \strlen((string) \file_get_contents('php://stdin')) . ' bytes';
        case '/relay':
            return \class_exists(Folk\Process\SocketRelay::class, false) ? 'sockets' : 'streams';
        case '/signals':
            if (!\function_exists('pcntl_signal')) {
                return 'not caught';
            }
            \pcntl_async_signals(true);
            // Not restarted by the system: what it interrupts has to be.
            \pcntl_signal(\SIGUSR1, static fn() => \file_put_contents('php://stderr', "signal\n"), false);

            return 'caught';
        case '/superglobals':
            return Response::text(\json_encode([$_GET, $_POST, $_COOKIE, $_FILES]));
        default:
            return Response::text('no such page', 404);
    }
};

$methods = (new Folk\Methods([
    'add' => static fn(array $numbers): int => \array_sum($numbers),
    'nothing' => static fn(mixed $argument): mixed => $argument,
    'fail' => static fn() => throw new DomainException('no good'),
]))->addRaw('reverse', \strrev(...))
    ->addRaw('measure', static fn(string $bytes): string => (string) \strlen($bytes));

$tasks = [
    'mail' => static fn(Task $task): array => [
        $task->id, $task->name, $task->queue, $task->attempt, $task->headers, $task->payload,
    ],
    'measure' => static fn(Task $task): int => \strlen($task->payload),
];

Folk\serve($handler, $methods, $tasks);
\fwrite(\fopen('php://stderr', 'w'), "after serve\n");
