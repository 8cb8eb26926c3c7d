<?php

declare(strict_types=1);

/* A stand-in for the server's RPC socket: php rpc-server.php PATH. Ends with its standard input. */

use Folk\Process\Frame;

require __DIR__ . '/../../autoload.php';

$listener = \stream_socket_server("unix://{$argv[1]}");
echo "ready\n";
$connections = [];
$accepted = 0;
for (;;) {
    $read = [$listener, \STDIN, ...$connections];
    $write = $except = [];
    \stream_select($read, $write, $except, 60);
    foreach ($read as $stream) {
        if (!\is_resource($stream)) {
            continue; // closed a moment ago
        }
        if ($stream === \STDIN) {
            exit(0);
        }
        if ($stream === $listener) {
            $connection = \stream_socket_accept($listener);
            $connections[(int) $connection] = $connection;
            ++$accepted;
            continue;
        }
        $bytes = (string) \fread($stream, Frame::HEAD);
        if (\strlen($bytes) < Frame::HEAD) {
            unset($connections[(int) $stream]);
            continue;
        }
        for ($length = Frame::length($bytes); \strlen($bytes) < $length; ) {
            $bytes .= \fread($stream, $length - \strlen($bytes));
        }
        $frame = Frame::decode($bytes);
        [$sequence, $nameLength] = $frame->options;
        $method = \substr($frame->payload, 0, $nameLength);
        $argument = \substr($frame->payload, $nameLength);
        $answer = static fn(string $body, int $flags = 0, ?int $number = null): string => Frame::encode(
            $frame->flags | $flags,
            $method . $body,
            [$number ?? $sequence, $nameLength],
        );
        switch ($method) {
            case 'echo':
                \fwrite($stream, $answer($argument));
                break;
            case 'connections':
                \fwrite($stream, $answer((string) $accepted));
                break;
            case 'fail':
                \fwrite($stream, $answer('that is not allowed', Frame::ERROR));
                break;
            case 'garbage':
                \fwrite($stream, 'HTTP/1.1 400 Bad Request');
                break;
            case 'not-json':
                \fwrite($stream, $answer('{'));
                break;
            case 'wrong':
                \fwrite($stream, $answer('1', 0, $sequence + 1));
                break;
            case 'slow':
                // Answered only together with the call that follows on the same connection.
                break;
            case 'split':
                foreach (\str_split($answer($argument), 5) as $piece) {
                    \fwrite($stream, $piece);
                    \usleep(500);
                }
                break;
            case 'close-others':
                foreach ($connections as $other) {
                    if ($other !== $stream) {
                        unset($connections[(int) $other]);
                        \fclose($other);
                    }
                }
                \fwrite($stream, $answer('null'));
                break;
            case 'drop':
                unset($connections[(int) $stream]);
                \fclose($stream);
                break;
        }
    }
}
