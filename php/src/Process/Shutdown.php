<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal answers the running request where the process ends under it: exit(), or a fatal error */
final class Shutdown
{
    private const FATAL = \E_ERROR | \E_PARSE | \E_CORE_ERROR | \E_COMPILE_ERROR | \E_USER_ERROR | \E_RECOVERABLE_ERROR;
    private const LONGEST_OUTPUT = 4096;
    /** What the last answer may need where memory ran out. */
    private const RESERVE = 65536;

    private static ?string $reserve = null;

    public static function guard(Emitter $emitter): void
    {
        self::$reserve = \str_repeat("\0", self::RESERVE);
        $owner = \getmypid();
        \register_shutdown_function(static function () use ($emitter, $owner): void {
            self::$reserve = null;
            // A child of the worker holds the same connection, and nothing of what is on it is its own.
            if ($emitter->phase === Emitter::IDLE || \getmypid() !== $owner) {
                return;
            }
            try {
                $emitter->fail(self::reason());
            } catch (\Throwable) {
                // The server sees the process end.
            }
        });
    }

    private static function reason(): string
    {
        $last = \error_get_last();
        if ($last !== null && ($last['type'] & self::FATAL)) {
            return 'fatal error: ' . Failure::cut($last['message']) . " in {$last['file']}:{$last['line']}";
        }
        $output = '';
        while (\ob_get_level() > 0 && \strlen($output) <= self::LONGEST_OUTPUT) {
            $output = \ob_get_contents() . $output;
            if (!OutputBuffer::isRemovable()) {
                break;
            }
            \ob_end_clean();
        }
        $text = 'exit() was called before the request was answered: return a response instead';

        return $output === '' ? $text : "$text; output so far:\n" . \substr($output, 0, self::LONGEST_OUTPUT);
    }
}
