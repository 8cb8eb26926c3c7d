<?php

declare(strict_types=1);

namespace Folk;

use Folk\Process\Loop;

/**
 * An HTTP request.
 *
 * Lazy: until something is asked of it, it is only the bytes the server sent. All strings are bytes
 * as the client sent them, in no particular encoding.
 */
final class Request
{
    private const METHOD = 1;
    private const TARGET = 2;
    private const PROTOCOL = 3;
    private const AUTHORITY = 4;
    private const SECURE = 5;
    private const REMOTE_ADDRESS = 6;
    private const REMOTE_PORT = 7;
    private const SERVER_ADDRESS = 8;
    private const SERVER_PORT = 9;
    private const ID = 10;
    private const HEADERS = 11;
    private const PARSED = 12;
    private const UPLOADS = 13;

    /** @var list<mixed>|null */
    private ?array $context = null;
    private ?string $method = null;
    private ?string $target = null;
    /** @var array<array-key, mixed>|null */
    private ?array $query = null;
    /** @var array<string, string>|null */
    private ?array $cookies = null;

    /**
     * @internal the worker loop makes requests; tests of applications use {@see Request::create()}
     *
     * @param string $frame holds the context at $offset, and behind it the body, unless $body does
     */
    public function __construct(
        private string $frame,
        private int $offset,
        private int $contextLength,
        private ?string $body = null,
    ) {
    }

    /**
     * A request that no client sent, for tests of applications.
     *
     * @param array<string, string|list<string>> $headers
     * @param array<array-key, mixed>|null $parsedBody
     * @param array<array-key, mixed> $files
     */
    public static function create(
        string $method = 'GET',
        string $target = '/',
        array $headers = [],
        string $body = '',
        ?array $parsedBody = null,
        array $files = [],
        bool $secure = false,
        string $remoteAddress = '127.0.0.1',
    ): self {
        $lists = [];
        foreach ($headers as $name => $values) {
            $name = \strtolower((string) $name);
            $lists[$name] = \array_merge($lists[$name] ?? [], \array_values((array) $values));
        }
        $request = new self('', 0, 0, $body);
        $request->context = [
            'http', $method, $target, 'HTTP/1.1', $lists['host'][0] ?? 'localhost', $secure, $remoteAddress,
            0, '127.0.0.1', $secure ? 443 : 80, 'test', $lists, $parsedBody, $files === [] ? null : $files,
        ];

        return $request;
    }

    /** `GET`, `POST`, … */
    public function method(): string
    {
        if ($this->method === null) {
            $this->peek();
        }

        return $this->method;
    }

    /** Path and query as the client sent them. */
    public function target(): string
    {
        return $this->target ?? $this->peek();
    }

    /** The path as the client sent it, percent-encoded. */
    public function path(): string
    {
        $target = $this->target ?? $this->peek();
        $end = \strpos($target, '?');
        $path = $end === false ? $target : \substr($target, 0, $end);
        if ($path !== '' && $path[0] === '/') {
            return $path;
        }

        // The absolute form: http://host/path.
        return \preg_match('~^[a-z][a-z0-9+.-]*://[^/]*(.*)$~is', $path, $parts) === 1
            ? ($parts[1] === '' ? '/' : $parts[1])
            : $path;
    }

    /** What follows the first `?` of the target. */
    public function queryString(): string
    {
        $target = $this->target ?? $this->peek();
        $start = \strpos($target, '?');

        return $start === false ? '' : \substr($target, $start + 1);
    }

    /**
     * The query as PHP's bracket rules read it, what `$_GET` would be.
     *
     * @return array<array-key, mixed>
     */
    public function query(): array
    {
        if ($this->query === null) {
            \parse_str($this->queryString(), $query);
            $this->query = $query;
        }

        return $this->query;
    }

    /** One parameter of the query: a string, or an array where the client sent brackets. */
    public function queryParam(string $name, mixed $default = null): mixed
    {
        return $this->query()[$name] ?? $default;
    }

    /** The values of one header, joined by commas as HTTP has it. */
    public function header(string $name, ?string $default = null): ?string
    {
        $headers = ($this->context ?? $this->decode())[self::HEADERS];
        $values = $headers[$name] ?? $headers[$name = \strtolower($name)] ?? null;
        if ($values === null) {
            return $default;
        }

        return \count($values) === 1 ? $values[0] : \implode($name === 'cookie' ? '; ' : ', ', $values);
    }

    /**
     * All headers: lower-case name to list of values.
     *
     * @return array<string, list<string>>
     */
    public function headers(): array
    {
        return ($this->context ?? $this->decode())[self::HEADERS];
    }

    /**
     * Cookies by name, values decoded. Where a name comes twice the first counts, as in `$_COOKIE`.
     *
     * @return array<string, string>
     */
    public function cookies(): array
    {
        if ($this->cookies === null) {
            $this->cookies = [];
            foreach (\explode(';', $this->header('cookie') ?? '') as $pair) {
                $parts = \explode('=', \trim($pair, " \t"), 2);
                if (isset($parts[1]) && $parts[0] !== '') {
                    $this->cookies[$parts[0]] ??= \urldecode($parts[1]);
                }
            }
        }

        return $this->cookies;
    }

    /** One cookie. */
    public function cookie(string $name, ?string $default = null): ?string
    {
        return $this->cookies()[$name] ?? $default;
    }

    /** The body as sent; empty where {@see parsedBody()} is not null. */
    public function body(): string
    {
        if ($this->body === null) {
            // The frame is let go here, so that the body is not kept twice.
            $this->context ?? $this->decode();
            $this->body = \substr($this->frame, $this->offset + $this->contextLength);
            $this->frame = '';
        }

        return $this->body;
    }

    /**
     * The body read as JSON, objects as arrays.
     *
     * @throws \JsonException
     */
    public function json(): mixed
    {
        return \json_decode($this->body(), true, 512, \JSON_THROW_ON_ERROR);
    }

    /**
     * The fields of an urlencoded or multipart body, what `$_POST` would be; null for other bodies.
     *
     * @return array<array-key, mixed>|null
     */
    public function parsedBody(): ?array
    {
        return ($this->context ?? $this->decode())[self::PARSED];
    }

    /**
     * Uploaded files, nested as the names of their fields are. Each is an array of `name`, `type`,
     * `size`, `tmp_name` and `error` (PHP's UPLOAD_ERR codes). They are removed after the answer:
     * `rename()` or `copy()` those to keep.
     *
     * @return array<array-key, mixed>
     */
    public function files(): array
    {
        return ($this->context ?? $this->decode())[self::UPLOADS] ?? [];
    }

    /** The client's IP address, after trusted proxies. */
    public function remoteAddress(): string
    {
        return ($this->context ?? $this->decode())[self::REMOTE_ADDRESS];
    }

    /** The client's port. */
    public function remotePort(): int
    {
        return ($this->context ?? $this->decode())[self::REMOTE_PORT];
    }

    /** The IP address the request came in on. */
    public function serverAddress(): string
    {
        return ($this->context ?? $this->decode())[self::SERVER_ADDRESS];
    }

    /** The port the request came in on. */
    public function serverPort(): int
    {
        return ($this->context ?? $this->decode())[self::SERVER_PORT];
    }

    /** Whether the client's connection is encrypted. */
    public function isSecure(): bool
    {
        return ($this->context ?? $this->decode())[self::SECURE];
    }

    /** `https` or `http`. */
    public function scheme(): string
    {
        return $this->isSecure() ? 'https' : 'http';
    }

    /** Host and, where the client named one, port. */
    public function authority(): string
    {
        $authority = ($this->context ?? $this->decode())[self::AUTHORITY];
        if ($authority !== '') {
            return $authority;
        }
        $address = $this->serverAddress();
        $port = $this->serverPort();
        $host = \str_contains($address, ':') ? "[$address]" : $address;

        return $port === ($this->isSecure() ? 443 : 80) ? $host : "$host:$port";
    }

    /** The host without its port. */
    public function host(): string
    {
        return \preg_replace('/:\d*$/D', '', $this->authority());
    }

    /** The absolute URI. */
    public function uri(): string
    {
        $target = $this->target();
        if ($target !== '' && $target[0] === '/') {
            return $this->scheme() . '://' . $this->authority() . $target;
        }

        return \str_contains($target, '://') ? $target : $this->scheme() . '://' . $this->authority();
    }

    /** `HTTP/1.0`, `HTTP/1.1`, `HTTP/2`. */
    public function protocol(): string
    {
        return ($this->context ?? $this->decode())[self::PROTOCOL];
    }

    /** The id of the request in logs and traces. */
    public function id(): string
    {
        return ($this->context ?? $this->decode())[self::ID];
    }

    /**
     * Sends 103 Early Hints ahead of the answer, so that the client loads what the page will need:
     * `earlyHints(['link' => ['</app.css>; rel=preload; as=style']])`.
     *
     * Does nothing once the answer has begun, or outside of a worker.
     *
     * @param array<string, string|list<string>> $headers
     */
    public function earlyHints(array $headers): void
    {
        Loop::inform($this, 103, Response::normalize($headers));
    }

    /**
     * Reads method and target, which most routing is content with, without decoding the rest:
     * `a:14:{i:0;s:4:"http";i:1;s:3:"GET";i:2;s:1:"/";…`.
     */
    private function peek(): string
    {
        if ($this->context === null) {
            $start = $this->offset + 27; // the digits of the method's length
            $length = (int) \substr($this->frame, $start, 10);
            $start = \strpos($this->frame, ':', $start) + 2;
            $this->method = \substr($this->frame, $start, $length);
            $start += $length + 8; // those of the target's
            $length = (int) \substr($this->frame, $start, 10);
            $start = \strpos($this->frame, ':', $start) + 2;

            return $this->target = \substr($this->frame, $start, $length);
        }
        $this->method = $this->context[self::METHOD];

        return $this->target = $this->context[self::TARGET];
    }

    /** @return list<mixed> */
    private function decode(): array
    {
        $context = @\unserialize(
            \substr($this->frame, $this->offset, $this->contextLength),
            ['allowed_classes' => false],
        );
        if (!\is_array($context) || !isset($context[self::HEADERS])) {
            throw new \UnexpectedValueException('the context of the request is not in the folk dialect');
        }

        return $this->context = $context;
    }
}
