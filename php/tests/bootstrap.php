<?php

declare(strict_types=1);

require __DIR__ . '/../autoload.php';

\spl_autoload_register(static function (string $class): void {
    $prefix = 'Folk\\Tests\\';
    if (\str_starts_with($class, $prefix)) {
        $file = __DIR__ . '/' . \strtr(\substr($class, \strlen($prefix)), '\\', '/') . '.php';
        if (\is_file($file)) {
            require $file;
        }
    }
});

// Composer's autoloader where dependencies were installed with it, else those of the system.
foreach ([__DIR__ . '/../vendor/autoload.php', '/usr/share/php/Nyholm/Psr7/autoload.php'] as $file) {
    if (\is_file($file)) {
        require_once $file;
        break;
    }
}
