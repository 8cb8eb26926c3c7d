<?php

declare(strict_types=1);

namespace Folk\Psr;

use Folk\Response;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\StreamInterface;

/** @internal PSR-7 responses as responses of ours */
final class PsrResponse
{
    /** Larger bodies, and those of unknown size, are sent in pieces as the client takes them. */
    private const WHOLE = 1 << 20;
    private const READ = 131072;

    public static function convert(ResponseInterface $response): Response
    {
        $headers = $response->getHeaders();
        $stream = $response->getBody();
        $size = $stream->getSize();
        $seekable = $stream->isSeekable();
        if ($size === 0 && !$seekable) {
            $size = null; // what implementations say of a pipe
        }
        if ($size !== null && $size <= self::WHOLE) {
            // The cast rewinds, where the stream can be rewound.
            $body = $size === 0 ? '' : (string) $stream;
            $converted = new Response('', $response->getStatusCode(), $headers);

            return $body === '' ? $converted : self::withExactBody($converted, $body);
        }
        if ($seekable) {
            $stream->rewind();
        }
        if ($size !== null && $seekable && !$response->hasHeader('Content-Length')) {
            $headers['content-length'] = [(string) $size];
        }

        return new Response(self::chunks($stream), $response->getStatusCode(), $headers);
    }

    /** A string would be given a content type; the application's own headers stay as they are. */
    private static function withExactBody(Response $response, string $body): Response
    {
        $typed = $response->withBody($body);

        return $response->header('content-type') === null ? $typed->withoutHeader('content-type') : $typed;
    }

    /** @return \Generator<int, string> */
    private static function chunks(StreamInterface $stream): \Generator
    {
        try {
            while (!$stream->eof()) {
                $chunk = $stream->read(self::READ);
                if ($chunk !== '') {
                    yield $chunk;
                }
            }
        } finally {
            // What can be rewound is left open: the application may keep the response and send it again.
            if (!$stream->isSeekable()) {
                $stream->close();
            }
        }
    }
}
