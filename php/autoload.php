<?php

declare(strict_types=1);

/*
 * Loads the package without Composer: require this file once.
 *
 * Classes load on first use only, so where a runtime brings its own Folk\Request or Folk\Response,
 * those are the ones in use and the files here stay unread.
 */

\spl_autoload_register(static function (string $class): void {
    if (!\str_starts_with($class, 'Folk\\')) {
        return;
    }
    $file = __DIR__ . '/src/' . \strtr(\substr($class, 5), '\\', '/') . '.php';
    if (\is_file($file)) {
        require $file;
    }
});

require_once __DIR__ . '/src/functions.php';
