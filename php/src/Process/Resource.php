<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal an open stream as a body */
final class Resource
{
    /**
     * Its content; closes it at the end.
     *
     * @param resource $stream
     *
     * @return \Generator<int, string>
     */
    public static function chunks($stream, int $length): \Generator
    {
        try {
            while (!\feof($stream)) {
                $chunk = \fread($stream, $length);
                if ($chunk === false) {
                    throw new \RuntimeException('the stream of the body cannot be read');
                }
                if ($chunk !== '') {
                    yield $chunk;
                }
            }
        } finally {
            if (\is_resource($stream)) {
                \fclose($stream);
            }
        }
    }
}
