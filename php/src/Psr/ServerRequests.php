<?php

declare(strict_types=1);

namespace Folk\Psr;

use Folk\Request;
use Psr\Http\Message\ServerRequestFactoryInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Psr\Http\Message\UploadedFileFactoryInterface;
use Psr\Http\Message\UploadedFileInterface;
use Psr\Http\Message\UriFactoryInterface;
use Psr\Http\Message\UriInterface;

/** @internal requests of ours as PSR-7 server requests */
final class ServerRequests
{
    public function __construct(
        private ServerRequestFactoryInterface $requests,
        private UriFactoryInterface $uris,
        private UploadedFileFactoryInterface $uploads,
        private StreamFactoryInterface $streams,
    ) {
    }

    /** @throws \InvalidArgumentException when the implementation refuses what the client sent */
    public function create(Request $request): ServerRequestInterface
    {
        $psr = $this->requests->createServerRequest($request->method(), $this->uri($request), self::server($request));
        foreach ($request->headers() as $name => $values) {
            $psr = $psr->withHeader((string) $name, $values);
        }
        $psr = $psr->withProtocolVersion(\substr($request->protocol(), 5))
            ->withCookieParams($request->cookies())
            ->withQueryParams($request->query())
            ->withAttribute('request_id', $request->id());
        $target = $request->target();
        if ($target === '*') {
            $psr = $psr->withRequestTarget($target);
        }
        $parsed = $request->parsedBody();
        if ($parsed !== null) {
            $psr = $psr->withParsedBody($parsed);
        }
        $files = $request->files();
        if ($files !== []) {
            $psr = $psr->withUploadedFiles($this->files($files));
        }
        $body = $request->body();

        return $body === '' ? $psr : $psr->withBody($this->streams->createStream($body));
    }

    /**
     * What PHP would have in `$_SERVER`.
     *
     * @return array<string, mixed>
     */
    private static function server(Request $request): array
    {
        $now = \microtime(true);
        $server = [
            'REQUEST_METHOD' => $request->method(),
            'REQUEST_URI' => $request->target(),
            'QUERY_STRING' => $request->queryString(),
            'REQUEST_SCHEME' => $request->scheme(),
            'REQUEST_TIME' => (int) $now,
            'REQUEST_TIME_FLOAT' => $now,
            'SERVER_PROTOCOL' => $request->protocol(),
            'SERVER_NAME' => $request->host(),
            'SERVER_ADDR' => $request->serverAddress(),
            'SERVER_PORT' => $request->serverPort(),
            'REMOTE_ADDR' => $request->remoteAddress(),
            'REMOTE_PORT' => $request->remotePort(),
        ];
        if ($request->isSecure()) {
            $server['HTTPS'] = 'on';
        }
        foreach ($request->headers() as $name => $values) {
            $name = (string) $name;
            // A proxy header must not become HTTP_PROXY, which HTTP clients take for their settings;
            // and with an underscore a name could pass for another one.
            if ($name === 'proxy' || \str_contains($name, '_')) {
                continue;
            }
            $key = \strtoupper(\strtr($name, '-', '_'));
            $prefix = $name === 'content-type' || $name === 'content-length' ? '' : 'HTTP_';
            $server[$prefix . $key] = \implode($name === 'cookie' ? '; ' : ', ', $values);
        }

        return $server;
    }

    private function uri(Request $request): UriInterface
    {
        try {
            return $this->uris->createUri($request->uri());
        } catch (\InvalidArgumentException) {
            // Paths like //x:0 are fine in HTTP, but not for every parser of whole URIs.
            return $this->uris->createUri('')
                ->withScheme($request->scheme())
                ->withHost($request->host())
                ->withPath($request->path())
                ->withQuery($request->queryString());
        }
    }

    /**
     * @param array<array-key, mixed> $files
     *
     * @return array<array-key, mixed>
     */
    private function files(array $files): array
    {
        $tree = [];
        foreach ($files as $name => $entry) {
            // A leaf has plain values; a field that is itself called "error" has an array there.
            $isFile = \is_string($entry['tmp_name'] ?? null) && \is_int($entry['error'] ?? null);
            $tree[$name] = $isFile ? $this->file($entry) : $this->files($entry);
        }

        return $tree;
    }

    /** @param array<string, mixed> $file */
    private function file(array $file): UploadedFileInterface
    {
        $error = $file['error'];
        $stream = null;
        if ($error === \UPLOAD_ERR_OK) {
            try {
                $stream = $this->streams->createStreamFromFile($file['tmp_name']);
            } catch (\RuntimeException) {
                $error = \UPLOAD_ERR_CANT_WRITE;
            }
        }

        return $this->uploads->createUploadedFile(
            $stream ?? $this->streams->createStream(''),
            (int) $file['size'],
            $error,
            (string) $file['name'],
            (string) $file['type'],
        );
    }
}
