<?php

declare(strict_types=1);

namespace Folk\Process;

/**
 * @internal standard input and output as carriers of frames
 *
 * Both are moved to other descriptors, and what the application knows as standard input and output
 * becomes an empty input and the error output: neither echo nor a child process can write into the
 * protocol, or read from it.
 */
final class Pipes
{
    /** @var list<resource> held open for the life of the process, in the place of those moved */
    private static array $stand = [];

    public static function open(): StreamRelay
    {
        $in = \fopen('php://fd/0', 'rb');
        $out = \fopen('php://fd/1', 'wb');
        if ($in === false || $out === false) {
            throw new Disconnected('standard input and output are not open');
        }
        if (!self::replaceStandardStreams()) {
            // The numbers could not be had; then at least what PHP itself prints is led away.
            self::leadOutputAway();
        }

        return new StreamRelay($in, $out);
    }

    /** Keeps what PHP prints out of the protocol, where the descriptor itself is still that of it. */
    public static function leadOutputAway(): void
    {
        \ob_start(static function (string $text): string {
            \fwrite(\STDERR, $text);

            return '';
        }, 1);
    }

    private static function replaceStandardStreams(): bool
    {
        // Opening takes the lowest free number, which is the one just closed.
        \fclose(\STDIN);
        self::$stand[] = \fopen('/dev/null', 'rb');
        \fclose(\STDOUT);
        self::$stand[] = $log = \fopen('php://fd/2', 'wb');

        $now = @\fopen('php://fd/1', 'wb');
        if ($log === false || $now === false) {
            return false;
        }
        [$a, $b] = [\fstat($now), \fstat($log)];

        return [$a['dev'], $a['ino']] === [$b['dev'], $b['ino']];
    }
}
