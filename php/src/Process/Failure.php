<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal what the server is told of an exception: its own text first, how it came about below */
final class Failure
{
    private const LONGEST_MESSAGE = 8192;
    /** Of the whole. The server takes 64 KiB. */
    private const LONGEST = 60000;
    private const MOST_FRAMES = 20;
    private const MOST_CAUSES = 5;

    public static function describe(\Throwable $error): string
    {
        $text = self::headline($error);
        // Without arguments: they hold passwords.
        foreach (\array_slice($error->getTrace(), 0, self::MOST_FRAMES) as $number => $call) {
            $place = isset($call['file']) ? $call['file'] . ':' . ($call['line'] ?? 0) : '[internal]';
            $text .= "\n#$number $place " . ($call['class'] ?? '') . ($call['type'] ?? '') . $call['function'] . '()';
        }
        for ($count = 0; $count < self::MOST_CAUSES && ($error = $error->getPrevious()) !== null; ++$count) {
            $text .= "\ncaused by " . self::headline($error);
        }

        return self::cut($text, self::LONGEST);
    }

    /** The beginning of a text that may be longer than the server takes. */
    public static function cut(string $text, int $length = self::LONGEST_MESSAGE): string
    {
        return \strlen($text) > $length ? \substr($text, 0, $length) . '…' : $text;
    }

    private static function headline(\Throwable $error): string
    {
        $message = self::cut($error->getMessage());

        // The name of an anonymous class goes on behind a zero byte with where it was declared.
        return \strtok($error::class, "\0") . ": $message in {$error->getFile()}:{$error->getLine()}";
    }
}
