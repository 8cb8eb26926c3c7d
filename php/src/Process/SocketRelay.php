<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal frames over a Unix socket of ext-sockets: one system call for each small frame */
final class SocketRelay implements Relay
{
    private const CHUNK = 65536;

    /** What came behind the last frame. */
    private string $rest = '';
    private bool $torn = false;

    public function __construct(private \Socket $socket)
    {
    }

    /** Connects to the socket at $path. */
    public static function connect(string $path): self
    {
        $socket = \socket_create(\AF_UNIX, \SOCK_STREAM, 0);
        if ($socket === false || !@\socket_connect($socket, $path)) {
            throw new Disconnected("cannot connect to $path: " . \socket_strerror(\socket_last_error()));
        }

        return new self($socket);
    }

    public function receive(): string
    {
        if ($this->rest === '') {
            $length = @\socket_recv($this->socket, $bytes, self::CHUNK, 0);
            // Nearly always all of one frame has come, and nothing else.
            if ($length > Frame::HEAD && Frame::length($bytes) === $length) {
                return $bytes;
            }
            if ($length === 0) {
                throw new Disconnected('the server closed the connection');
            }
            $this->rest = $length === false ? $this->retry() : $bytes;
        }

        return $this->assemble();
    }

    public function send(string $bytes, string $more = ''): void
    {
        if ($more !== '') {
            $this->torn = true;
            $this->send($bytes);
            $this->torn = true;
            $this->send($more);
            $this->torn = false;

            return;
        }
        $length = \strlen($bytes);
        $sent = @\socket_send($this->socket, $bytes, $length, 0);
        if ($sent !== $length) {
            $this->sendRest($bytes, (int) $sent);
        }
    }

    public function isTorn(): bool
    {
        return $this->torn;
    }

    /** Makes a frame of what has come so far and what follows. */
    private function assemble(): string
    {
        $bytes = $this->rest;
        $this->rest = '';
        while (\strlen($bytes) < Frame::HEAD) {
            $bytes .= $this->read(self::CHUNK, 0);
        }
        $length = Frame::length($bytes);
        while (($missing = $length - \strlen($bytes)) > 0) {
            $bytes .= $this->read($missing, \MSG_WAITALL);
        }
        if ($missing < 0) {
            $this->rest = \substr($bytes, $length);
            $bytes = \substr($bytes, 0, $length);
        }

        return $bytes;
    }

    private function read(int $length, int $flags): string
    {
        $read = @\socket_recv($this->socket, $bytes, $length, $flags);
        if ($read === false) {
            return $this->retry();
        }
        if ($read === 0) {
            throw new Disconnected('the server closed the connection');
        }

        return $bytes;
    }

    /** After a failed read: nothing where a signal interrupted it, so that it is tried again. */
    private function retry(): string
    {
        $this->failUnlessInterrupted();

        return '';
    }

    private function sendRest(string $bytes, int $sent): void
    {
        $this->torn = true;
        $length = \strlen($bytes);
        if ($sent === 0) {
            $this->failUnlessInterrupted();
        }
        while ($sent < $length) {
            $piece = \substr($bytes, $sent, 1 << 20);
            $count = @\socket_send($this->socket, $piece, \strlen($piece), 0);
            if ($count === false) {
                $this->failUnlessInterrupted();
            }
            $sent += (int) $count;
        }
        $this->torn = false;
    }

    private function failUnlessInterrupted(): void
    {
        $code = \socket_last_error($this->socket);
        \socket_clear_error($this->socket);
        if ($code !== \SOCKET_EINTR && $code !== 0) {
            throw new Disconnected('the connection to the server broke: ' . \socket_strerror($code));
        }
    }
}
