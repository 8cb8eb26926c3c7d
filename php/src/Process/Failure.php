<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal what the server is told of an exception: its own text first, how it came about below */
final class Failure
{
    private const LONGEST_MESSAGE = 8192;
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

        return $text;
    }

    private static function headline(\Throwable $error): string
    {
        $message = $error->getMessage();
        if (\strlen($message) > self::LONGEST_MESSAGE) {
            $message = \substr($message, 0, self::LONGEST_MESSAGE) . '…';
        }

        // The name of an anonymous class goes on behind a zero byte with where it was declared.
        return \strtok($error::class, "\0") . ": $message in {$error->getFile()}:{$error->getLine()}";
    }
}
