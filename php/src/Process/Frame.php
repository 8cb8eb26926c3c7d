<?php

declare(strict_types=1);

namespace Folk\Process;

/** A frame of the worker protocol (Goridge v3), and how it is written. */
final class Frame
{
    public const CONTROL = 0x01;
    public const RAW = 0x04;
    public const JSON = 0x08;
    public const ERROR = 0x40;

    public const STREAM = 0x01;
    public const STOP = 0x02;
    public const PING = 0x04;
    public const PONG = 0x08;

    /** Where in a head the number of the request stands. */
    public const TAG = 11;
    /** The fixed part of the head, which says how long the whole is. */
    public const HEAD = 12;
    /** How many bytes of head stand before the context of a request. */
    public const REQUEST_HEAD = 16;

    /** @param list<int> $options */
    public function __construct(
        public readonly int $flags,
        public readonly int $stream,
        public readonly array $options,
        public readonly string $payload,
    ) {
    }

    /**
     * The bytes of a frame.
     *
     * @param list<int> $options
     */
    public static function encode(int $flags, string $payload, array $options = [], int $stream = 0): string
    {
        $head = \pack('CCV', 0x13 + \count($options), $flags, \strlen($payload));

        return \pack('a6VCxV*', $head, \crc32($head), $stream, ...$options) . $payload;
    }

    /** All of an answer but its body, which is $bodyLength bytes long. */
    public static function answer(string $context, int $bodyLength, int $flags = self::RAW, int $stream = 0): string
    {
        $contextLength = \strlen($context);
        $head = \pack('CCV', 0x14, $flags, $contextLength + $bodyLength);

        return $head . \pack('VvV', \crc32($head), $stream, $contextLength) . $context;
    }

    /** How long the frame is that begins with $bytes, of which there are at least 12. */
    public static function length(string $bytes): int
    {
        $first = \ord($bytes[0]);
        if ($first < 0x13 || $first > 0x1d) {
            throw new ProtocolError('the server sent no Goridge v1 frame');
        }

        return 4 * ($first & 0x0f) + \unpack('V', $bytes, 2)[1];
    }

    /** Whether the frame that begins with $bytes is a request of the folk dialect. */
    public static function isRequest(string $bytes): bool
    {
        return $bytes[0] === "\x14" && $bytes[1] === "\x04";
    }

    /** How long the context of a request is whose head $bytes begin with. */
    public static function contextLength(string $bytes): int
    {
        return \unpack('V', $bytes, self::HEAD)[1];
    }

    /** Reads a whole frame. */
    public static function decode(string $bytes): self
    {
        if (\strlen($bytes) < self::HEAD || \strlen($bytes) !== self::length($bytes)) {
            throw new ProtocolError('a frame is not as long as it says');
        }
        $head = 4 * (\ord($bytes[0]) & 0x0f);
        $options = \array_values(\unpack('V*', \substr($bytes, self::HEAD, $head - self::HEAD)) ?: []);

        return new self(\ord($bytes[1]), \ord($bytes[10]), $options, \substr($bytes, $head));
    }
}
