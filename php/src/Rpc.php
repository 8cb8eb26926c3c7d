<?php

declare(strict_types=1);

namespace Folk;

use Folk\Process\Frame;
use Folk\Process\ProtocolError;

/**
 * Calls methods of the server and its plugins over the RPC socket.
 *
 * `Rpc::fromEnvironment()->call('queue.push', […])`. One connection, opened at the first call and
 * kept. A call is never sent twice: where the connection broke after it was sent, it may have
 * run, and the caller is told so.
 */
final class Rpc
{
    private const LARGEST_ANSWER = 1 << 30;

    /** @var resource|null */
    private $stream = null;
    private int $sequence = 0;
    private int $owner = 0;

    /** @param float $timeout seconds that a call may take */
    public function __construct(private string $address, private float $timeout = 5.0)
    {
        if (!\str_starts_with($address, 'unix://')) {
            throw new \InvalidArgumentException("the RPC address is unix://PATH, not $address");
        }
    }

    /** The server that started this worker. */
    public static function fromEnvironment(float $timeout = 5.0): self
    {
        $address = (string) \getenv('RR_RPC');
        if ($address === '') {
            throw new RpcException('RR_RPC is not set: set server.rpc in folk.toml, and run under folk serve');
        }

        return new self($address, $timeout);
    }

    /**
     * Calls $method with $argument as JSON and returns its result, objects as arrays.
     *
     * @param float|null $timeout seconds, instead of the usual
     *
     * @throws RpcException
     */
    public function call(string $method, mixed $argument = null, ?float $timeout = null): mixed
    {
        try {
            $answer = $this->exchange(Frame::JSON, $method, \json_encode($argument, Response::JSON_FLAGS), $timeout);

            return $answer === '' ? null : \json_decode($answer, true, 512, \JSON_THROW_ON_ERROR);
        } catch (\JsonException $error) {
            throw new RpcException("$method: not JSON: {$error->getMessage()}", 0, $error);
        }
    }

    /**
     * Calls $method with bytes and returns bytes.
     *
     * @throws RpcException
     */
    public function callRaw(string $method, string $argument = '', ?float $timeout = null): string
    {
        return $this->exchange(Frame::RAW, $method, $argument, $timeout);
    }

    private function exchange(int $codec, string $method, string $argument, ?float $timeout): string
    {
        $deadline = \microtime(true) + ($timeout ?? $this->timeout);
        $sequence = ++$this->sequence;
        $frame = Frame::encode($codec, $method . $argument, [$sequence, \strlen($method)]);
        try {
            $this->send($frame, $method, $deadline);
            $answer = $this->receive($method, $deadline);
        } catch (\Throwable $error) {
            // What is left of this exchange must not be taken for the answer to the next.
            $this->stream = null;
            throw $error;
        }
        if (\count($answer->options) < 2 || $answer->options[0] !== $sequence) {
            $this->stream = null;
            throw new RpcException("$method: the server answered another call");
        }
        $payload = \substr($answer->payload, $answer->options[1]);
        if ($answer->flags & Frame::ERROR) {
            throw new RpcException($payload);
        }

        return $payload;
    }

    /** Sends a frame, once: a second time only where the first cannot have arrived whole. */
    private function send(string $frame, string $method, float $deadline): void
    {
        $kept = $this->stream !== null && $this->owner === \getmypid();
        if (!$kept) {
            $this->connect($method, $deadline);
        }
        if ($this->write($frame, $method, $deadline)) {
            return;
        }
        if ($kept) {
            // The server closed it since the last call.
            $this->connect($method, $deadline);
            if ($this->write($frame, $method, $deadline)) {
                return;
            }
        }
        throw new RpcException("$method: the server closed the connection");
    }

    private function connect(string $method, float $deadline): void
    {
        $this->stream = null;
        $left = \max(0.001, $deadline - \microtime(true));
        $stream = @\stream_socket_client($this->address, $code, $message, $left);
        if ($stream === false) {
            throw new RpcException("$method: cannot connect to {$this->address}: $message");
        }
        \stream_set_blocking($stream, false);
        \stream_set_read_buffer($stream, 0);
        $this->stream = $stream;
        // A forked child must not write into the connection of its parent.
        $this->owner = \getmypid();
    }

    private function write(string $bytes, string $method, float $deadline): bool
    {
        for ($sent = 0, $length = \strlen($bytes); $sent < $length; ) {
            $count = @\fwrite($this->stream, $sent === 0 ? $bytes : \substr($bytes, $sent));
            if ($count === false) {
                return false;
            }
            $sent += $count;
            if ($sent < $length) {
                $this->await(false, $method, $deadline);
            }
        }

        return true;
    }

    private function receive(string $method, float $deadline): Frame
    {
        $bytes = '';
        $wanted = Frame::HEAD;
        while (($missing = $wanted - \strlen($bytes)) > 0) {
            $this->await(true, $method, $deadline);
            $read = @\fread($this->stream, \min($missing, 1 << 20));
            if (($read === '' || $read === false) && \feof($this->stream)) {
                throw new RpcException("$method: the connection broke before the answer; the call may have run");
            }
            $bytes .= $read;
            if ($wanted === Frame::HEAD && \strlen($bytes) === $wanted) {
                $wanted = self::answerLength($bytes, $method);
            }
        }

        return Frame::decode($bytes);
    }

    private static function answerLength(string $head, string $method): int
    {
        try {
            $length = Frame::length($head);
        } catch (ProtocolError $error) {
            throw new RpcException("$method: {$error->getMessage()}", 0, $error);
        }
        if ($length > self::LARGEST_ANSWER) {
            throw new RpcException("$method: the server announced an answer of $length bytes");
        }

        return $length;
    }

    private function await(bool $toRead, string $method, float $deadline): void
    {
        do {
            $left = $deadline - \microtime(true);
            if ($left <= 0) {
                throw new RpcException("$method: no answer in time");
            }
            $read = $toRead ? [$this->stream] : [];
            $write = $toRead ? [] : [$this->stream];
            $except = [];
            // A signal interrupts it; then the time that is left is waited for.
            $ready = @\stream_select($read, $write, $except, (int) $left, (int) (\fmod($left, 1) * 1e6));
        } while ($ready === false || $ready === 0);
    }
}
