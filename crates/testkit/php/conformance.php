<?php

declare(strict_types=1);

/**
 * The application that the conformance suite talks to, written with the public functions of
 * folk/sdk alone. FOLK_AUTOLOAD in the environment says where the package is.
 */

require getenv('FOLK_AUTOLOAD');

use Folk\Request;
use Folk\Response;

$served = 0;

Folk\serve(
    static function (Request $request) use (&$served): mixed {
        $served++;
        switch ($request->path()) {
            case '/hello':
                return 'hello';
            case '/served':
                return (string) $served;
            case '/request':
                return [
                    'method' => $request->method(),
                    'target' => $request->target(),
                    'headers' => $request->headers(),
                    'remote' => $request->remoteAddress(),
                    'secure' => $request->isSecure(),
                    'id' => $request->id(),
                ];
            case '/echo':
                return Response::text($request->body());
            case '/form':
                $contents = [];
                foreach ($request->files() as $name => $file) {
                    $contents[$name] = [$file['name'], file_get_contents($file['tmp_name'])];
                }

                return ['fields' => $request->parsedBody(), 'files' => $contents];
            case '/headers':
                return new Response('short and stout', 418, [
                    'Set-Cookie' => ['a=1', 'b=2'],
                    'X-Raw' => "\xff\xe9",
                ]);
            case '/stream':
                return (static function (): iterable {
                    yield 'one,';
                    yield 'two,';
                    yield 'three';
                })();
            case '/endless':
                return (static function (): iterable {
                    for (;;) {
                        yield str_repeat('x', 1024);
                    }
                })();
            case '/large':
                return str_repeat('0123456789abcdef', 512 * 1024);
            case '/exception':
                throw new RuntimeException('the application failed');
            case '/exit':
                exit(3);
            case '/fatal':
                ini_set('memory_limit', '16M');

                return str_repeat('x', 1 << 30);
            case '/print':
                echo 'printed by mistake';

                return 'the answer';
            case '/die':
                posix_kill(getmypid(), SIGKILL);
                sleep(60);

                return null;
            case '/hang':
                // The file tells the suite that the request runs.
                touch($request->header('x-mark'));
                sleep(60);

                return null;
            default:
                return new Response('', 404);
        }
    },
    methods: [
        'sum' => static fn (array $numbers): int|float => array_sum($numbers),
        'refuse' => static fn () => throw new RuntimeException('not that'),
    ],
    tasks: static fn (Folk\Task $task): string => "$task->name:$task->payload",
);
