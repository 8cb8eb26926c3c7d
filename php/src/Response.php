<?php

declare(strict_types=1);

namespace Folk;

/**
 * An HTTP answer. Never changes: each with…() returns a changed copy.
 *
 * The body is a string, an iterable of strings (each sent as soon as it is there), an open stream
 * resource, or a Closure that returns one of these and is called when the answer is sent.
 */
final class Response
{
    /** @internal how values become JSON */
    public const JSON_FLAGS = \JSON_THROW_ON_ERROR | \JSON_UNESCAPED_SLASHES | \JSON_UNESCAPED_UNICODE
        | \JSON_PRESERVE_ZERO_FRACTION;

    /** @var array<string, list<string>> lower-case name to values */
    private array $headers;
    private mixed $body;

    /**
     * A string that comes without a content type is text/html.
     *
     * @param string|iterable<string>|resource|\Closure|\Stringable|null $body
     * @param array<string, string|int|float|list<string|int|float>> $headers
     */
    public function __construct(mixed $body = '', private int $status = 200, array $headers = [])
    {
        self::checkStatus($status);
        if ($body === null) {
            $body = '';
        } elseif ($body instanceof \Stringable) {
            $body = (string) $body;
        } elseif (!\is_string($body) && !\is_iterable($body) && !\is_resource($body) && !$body instanceof \Closure) {
            throw new \InvalidArgumentException(
                'a body is a string, an iterable, a stream or a Closure, not ' . \get_debug_type($body)
            );
        }
        $this->body = $body;
        $this->headers = self::normalize($headers);
        if (\is_string($body) && $body !== '' && !isset($this->headers['content-type'])) {
            $this->headers['content-type'] = ['text/html; charset=UTF-8'];
        }
    }

    /** @param array<string, string|list<string>> $headers */
    public static function text(string $text, int $status = 200, array $headers = []): self
    {
        return new self($text, $status, self::normalize($headers) + ['content-type' => 'text/plain; charset=UTF-8']);
    }

    /** @param array<string, string|list<string>> $headers */
    public static function html(string $html, int $status = 200, array $headers = []): self
    {
        return new self($html, $status, self::normalize($headers) + ['content-type' => 'text/html; charset=UTF-8']);
    }

    /**
     * @param array<string, string|list<string>> $headers
     *
     * @throws \JsonException when $data cannot be written as JSON
     */
    public static function json(mixed $data, int $status = 200, array $headers = []): self
    {
        $json = \json_encode($data, self::JSON_FLAGS);

        return new self($json, $status, self::normalize($headers) + ['content-type' => 'application/json']);
    }

    /** @param array<string, string|list<string>> $headers */
    public static function redirect(string $location, int $status = 302, array $headers = []): self
    {
        return new self('', $status, ['location' => $location] + $headers);
    }

    /**
     * A file that the server itself reads and sends (X-Sendfile), ranges and all. It sends only those
     * that lie in a directory named by `http.sendfile` in folk.toml.
     *
     * @param string|null $downloadName the name under which browsers save it instead of showing it
     * @param array<string, string|list<string>> $headers
     */
    public static function file(
        string $path,
        ?string $contentType = null,
        ?string $downloadName = null,
        array $headers = [],
    ): self {
        $absolute = \realpath($path);
        if ($absolute === false || !\is_file($absolute)) {
            throw new \InvalidArgumentException("no such file: $path");
        }
        $response = new self('', 200, ['x-sendfile' => $absolute] + $headers);
        if ($contentType !== null) {
            $response->headers['content-type'] = self::values('content-type', $contentType);
        }
        if ($downloadName !== null) {
            $ascii = \preg_replace('/[^\x20-\x7e]|["\\\\%]/', '_', $downloadName);
            $response->headers['content-disposition'] = [
                "attachment; filename=\"$ascii\"; filename*=UTF-8''" . \rawurlencode($downloadName),
            ];
        }

        return $response;
    }

    /**
     * A body sent piece by piece. An empty first piece sends the head alone.
     *
     * @param iterable<string>|resource|\Closure $body
     * @param array<string, string|list<string>> $headers
     */
    public static function stream(mixed $body, int $status = 200, array $headers = []): self
    {
        return new self($body, $status, $headers);
    }

    public function status(): int
    {
        return $this->status;
    }

    /** @return array<string, list<string>> */
    public function headers(): array
    {
        return $this->headers;
    }

    /** The first value of one header. */
    public function header(string $name): ?string
    {
        return $this->headers[\strtolower($name)][0] ?? null;
    }

    /** @return string|iterable<string>|resource|\Closure|null null where it was sent and could be read only once */
    public function body(): mixed
    {
        return $this->body;
    }

    public function withStatus(int $status): self
    {
        self::checkStatus($status);
        $copy = clone $this;
        $copy->status = $status;

        return $copy;
    }

    /** @param string|int|float|list<string|int|float> $value */
    public function withHeader(string $name, string|int|float|array $value): self
    {
        $copy = clone $this;
        $copy->headers = self::normalize([$name => $value]) + $this->headers;

        return $copy;
    }

    /** @param string|int|float|list<string|int|float> $value */
    public function withAddedHeader(string $name, string|int|float|array $value): self
    {
        $copy = clone $this;
        foreach (self::normalize([$name => $value]) as $lower => $values) {
            $copy->headers[$lower] = \array_merge($this->headers[$lower] ?? [], $values);
        }

        return $copy;
    }

    public function withoutHeader(string $name): self
    {
        $copy = clone $this;
        unset($copy->headers[\strtolower($name)]);

        return $copy;
    }

    /**
     * @param string|iterable<string>|resource|\Closure $body
     */
    public function withBody(mixed $body): self
    {
        return new self($body, $this->status, $this->headers);
    }

    /**
     * A cookie. A lifetime of null ends it with the browser, 0 or less removes it.
     */
    public function withCookie(
        string $name,
        string $value,
        ?int $lifetime = null,
        string $path = '/',
        string $domain = '',
        bool $secure = false,
        bool $httpOnly = true,
        string $sameSite = 'Lax',
    ): self {
        if (\preg_match('/^[!#$%&\'*+.^_`|~0-9a-z-]+$/Di', $name) !== 1) {
            throw new \InvalidArgumentException("not a cookie name: $name");
        }
        if (\strpbrk($path . $domain . $sameSite, ';,') !== false) {
            throw new \InvalidArgumentException('path, domain and sameSite of a cookie hold no ; and no ,');
        }
        $cookie = $name . '=' . \rawurlencode($value)
            . ($lifetime === null ? '' : '; Max-Age=' . \max(0, $lifetime))
            . ($path === '' ? '' : "; Path=$path")
            . ($domain === '' ? '' : "; Domain=$domain")
            . ($secure ? '; Secure' : '')
            . ($httpOnly ? '; HttpOnly' : '')
            . ($sameSite === '' ? '' : "; SameSite=$sameSite");

        return $this->withAddedHeader('set-cookie', $cookie);
    }

    /**
     * @internal the body to send. One that can be read only once is let go here, so that a generator
     *           ends with its last reader; any other stays, for a response that is kept and sent again.
     */
    public function takeBody(): mixed
    {
        $body = $this->body;
        if (\is_string($body) || $body instanceof \Closure || \is_array($body)) {
            return $body;
        }
        if ($body === null || \get_debug_type($body) === 'resource (closed)') {
            throw new \LogicException(
                'the body of this response was sent before and can be read only once: make a new response, or give it a Closure'
            );
        }
        $this->body = null;

        return $body;
    }

    /**
     * @internal headers with lower-case names and lists of values, each checked: a line break in a
     *           value would let whoever chose the value write headers of their own
     *
     * @param array<string, mixed> $headers
     *
     * @return array<string, list<string>>
     */
    public static function normalize(array $headers): array
    {
        $lists = [];
        foreach ($headers as $name => $values) {
            $name = \strtolower((string) $name);
            if (\preg_match('/^[!#$%&\'*+.^_`|~0-9a-z-]+$/D', $name) !== 1) {
                throw new \InvalidArgumentException('not a header name: ' . \json_encode($name, \JSON_INVALID_UTF8_SUBSTITUTE));
            }
            $values = self::values($name, $values);
            $lists[$name] = isset($lists[$name]) ? \array_merge($lists[$name], $values) : $values;
        }

        return $lists;
    }

    /** @return list<string> */
    private static function values(string $name, mixed $values): array
    {
        $list = [];
        foreach (\is_array($values) ? $values : [$values] as $value) {
            if (!\is_scalar($value) && !$value instanceof \Stringable) {
                throw new \InvalidArgumentException("header $name is neither text nor a list of texts");
            }
            $value = (string) $value;
            if (\preg_match('/[\x00-\x08\x0a-\x1f\x7f]/', $value) === 1) {
                throw new \InvalidArgumentException("header $name holds a line break or another control character");
            }
            $list[] = $value;
        }

        return $list;
    }

    private static function checkStatus(int $status): void
    {
        if ($status < 200 || $status > 999) {
            throw new \InvalidArgumentException("not the status of an answer: $status");
        }
    }
}
