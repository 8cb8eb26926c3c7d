<?php

declare(strict_types=1);

namespace Folk\Process;

use Folk\Psr\PsrResponse;
use Folk\Response;
use Psr\Http\Message\ResponseInterface;

/** @internal turns what a handler returns into frames */
final class Emitter
{
    /** No request is to be answered. */
    public const IDLE = 0;
    /** One is, and its final head was not sent. */
    public const TAKEN = 1;
    /** Parts of its answer were sent. */
    public const STREAMING = 2;

    /** `serialize([200, ['content-type' => ['text/html; charset=UTF-8']]])` */
    public const HTML = 'a:2:{i:0;i:200;i:1;a:1:{s:12:"content-type";a:1:{i:0;s:24:"text/html; charset=UTF-8";}}}';
    private const JSON = 'a:2:{i:0;i:200;i:1;a:1:{s:12:"content-type";a:1:{i:0;s:16:"application/json";}}}';
    private const NO_CONTENT = 'a:2:{i:0;i:204;i:1;a:0:{}}';

    /** Bodies up to this size go out together with their head. */
    private const COPIED = 65536;
    /**
     * Strings beyond this size are cut into parts, which the server takes no faster than the client
     * reads; what comes in one frame it takes at once. It takes frames of 1 GiB.
     */
    public static int $largestFrame = 512 << 20;
    private const LARGEST_PART = 1 << 20;
    private const READ = 131072;

    /** After so many parts the server is asked whether anybody still reads, */
    private const PARTS_A_PING = 8;
    /** and when so much time has passed since it was asked, in nanoseconds. */
    private const TIME_A_PING = 250_000_000;

    public int $phase = self::IDLE;
    /** The number of the request, one byte, which every frame of its answer repeats. */
    public string $tag = "\0";

    private int $parts = 0;
    private int $asked = 0;

    public function __construct(private Relay $relay, private Loop $loop)
    {
    }

    /**
     * Answers with whatever a handler returned. A generator is taken out of $result, so that it can
     * end before the answer does.
     */
    public function answer(mixed &$result): void
    {
        if (\is_string($result)) {
            $this->text($result, self::HTML, 'text/html; charset=UTF-8');
        } elseif ($result instanceof Response) {
            $this->response($result);
        } elseif ($result === null) {
            $this->sendWhole(Frame::answer(self::NO_CONTENT, 0), '');
        } elseif ($result instanceof ResponseInterface) {
            $this->response(PsrResponse::convert($result));
        } elseif (\is_array($result) || $result instanceof \JsonSerializable) {
            $this->text(\json_encode($result, Response::JSON_FLAGS), self::JSON, 'application/json');
        } elseif ($result instanceof \Traversable) {
            [$chunks, $result] = [$result, null];
            $this->stream(self::HTML, $chunks);
        } elseif ($result instanceof \Stringable) {
            $this->text((string) $result, self::HTML, 'text/html; charset=UTF-8');
        } else {
            throw new \UnexpectedValueException(
                'a handler returns a string, an array, null, an iterable or a response, not ' . \get_debug_type($result)
            );
        }
    }

    /** Answers a call or a task. */
    public function bytes(string $bytes): void
    {
        $this->sendWhole(Frame::answer('', \strlen($bytes)), $bytes);
    }

    /** Answers that the application failed; ends a stream that has begun. */
    public function fail(string $message): void
    {
        if ($this->phase === self::IDLE || $this->relay->isTorn()) {
            return;
        }
        $this->sendWhole(Frame::answer('', \strlen($message), Frame::RAW | Frame::ERROR), $message);
    }

    /**
     * Sends a 1xx response, unless the answer has begun.
     *
     * @param array<string, list<string>> $headers
     */
    public function inform(int $status, array $headers): void
    {
        if ($this->phase === self::TAKEN) {
            $head = Frame::answer(\serialize([$status, $headers]), 0, Frame::RAW, Frame::STREAM);
            $head[Frame::TAG] = $this->tag;
            $this->relay->send($head);
        }
    }

    /** Sends the only or the last frame of an answer. */
    public function sendWhole(string $head, string $body): void
    {
        $head[Frame::TAG] = $this->tag;
        if (\strlen($body) <= self::COPIED) {
            $this->relay->send($head . $body);
        } else {
            // A second system call costs less than a copy of the body.
            $this->relay->send($head, $body);
        }
        $this->phase = self::IDLE;
    }

    private function response(Response $response): void
    {
        $headers = $response->headers();
        $body = $response->takeBody();
        if ($body instanceof \Closure) {
            $body = $body();
        }
        if ($body === null || $body instanceof \Stringable) {
            $body = (string) $body;
        }
        if (\is_string($body)) {
            if (\strlen($body) <= self::$largestFrame) {
                $this->sendWhole(Frame::answer(self::context($response->status(), $headers), \strlen($body)), $body);

                return;
            }
            $headers += ['content-length' => [(string) \strlen($body)]];
            $body = [$body];
        } elseif (\is_resource($body)) {
            $body = Resource::chunks($body, self::READ);
        } elseif (!\is_iterable($body)) {
            throw new \UnexpectedValueException('the Closure of a body returned ' . \get_debug_type($body));
        }
        $this->stream(self::context($response->status(), $headers), $body);
    }

    /** @param array<string, list<string>> $headers */
    private static function context(int $status, array $headers): string
    {
        return $status === 200 && $headers === [] ? '' : \serialize([$status, $headers]);
    }

    /** $context is the head that says $type, written beforehand. */
    private function text(string $body, string $context, string $type): void
    {
        if (\strlen($body) <= self::$largestFrame) {
            $this->sendWhole(Frame::answer($context, \strlen($body)), $body);
        } else {
            $this->response(new Response($body, 200, ['content-type' => $type]));
        }
    }

    /**
     * Sends each chunk as soon as it is there, until nobody reads them any more.
     *
     * @param iterable<mixed> $chunks let go before the end is sent
     */
    private function stream(string $context, iterable &$chunks): void
    {
        $this->parts = 0;
        $this->asked = \hrtime(true);
        // The head goes with the first chunk: whatever fails before it is still answered in full.
        foreach ($chunks as $chunk) {
            if (!\is_string($chunk)) {
                $chunk = self::cast($chunk);
            }
            if (!$this->chunk($context, $chunk)) {
                break;
            }
        }
        unset($chunk);
        $chunks = []; // ends a generator: its finally blocks run here
        $this->sendWhole(Frame::answer($this->phase === self::TAKEN ? $context : '', 0), '');
    }

    /** Sends one chunk, in as many parts as it takes. Whether more is wanted. */
    private function chunk(string $context, string $chunk): bool
    {
        $length = \strlen($chunk);
        if ($length > 0 && $length <= self::LARGEST_PART) {
            return $this->part($context, $chunk);
        }
        if ($length === 0) {
            return $this->phase !== self::TAKEN || $this->part($context, '');
        }
        for ($offset = 0; $offset < $length; $offset += self::LARGEST_PART) {
            if (!$this->part($context, \substr($chunk, $offset, self::LARGEST_PART))) {
                return false;
            }
        }

        return true;
    }

    private function part(string $context, string $bytes): bool
    {
        $context = $this->phase === self::TAKEN ? $context : '';
        $ask = ++$this->parts % self::PARTS_A_PING === 0 || \hrtime(true) - $this->asked > self::TIME_A_PING;
        $head = Frame::answer($context, \strlen($bytes), Frame::RAW, $ask ? Frame::STREAM | Frame::PING : Frame::STREAM);
        $head[Frame::TAG] = $this->tag;
        // From the first byte on the answer can only be cut, not replaced.
        $this->phase = self::STREAMING;
        if (\strlen($bytes) <= self::COPIED) {
            $this->relay->send($head . $bytes);
        } else {
            $this->relay->send($head, $bytes);
        }

        return !$ask || $this->isWanted();
    }

    /** Waits for the server to say whether anybody still reads. */
    private function isWanted(): bool
    {
        for (;;) {
            $bytes = $this->relay->receive();
            $frame = Frame::decode($bytes);
            if (!($frame->flags & Frame::CONTROL)) {
                throw new ProtocolError('the server sent a request before the last was answered');
            }
            if ($frame->stream & Frame::STOP) {
                return false;
            }
            if ($frame->stream & Frame::PONG) {
                $this->asked = \hrtime(true);

                return true;
            }
            $this->loop->control($bytes);
        }
    }

    private static function cast(mixed $chunk): string
    {
        if ($chunk === null || \is_scalar($chunk) || $chunk instanceof \Stringable) {
            return (string) $chunk;
        }
        throw new \UnexpectedValueException('a chunk of a body is a string, not ' . \get_debug_type($chunk));
    }
}
