<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal frames over a Unix socket of ext-sockets: one system call for each small frame */
final class SocketRelay extends Wire
{
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

    public function receive(?string &$body = null): string
    {
        if ($this->rest === '') {
            try {
                $length = @\socket_recv($this->socket, $bytes, self::CHUNK, 0);
            } catch (\Throwable $error) {
                $length = $this->failed($error);
            }
            // Nearly always all of one frame has come, and nothing else.
            if ($length > Frame::HEAD && Frame::length($bytes) === $length) {
                return $bytes;
            }
            if ($length === 0) {
                throw new Disconnected('the server closed the connection');
            }
            $this->rest = $length === false ? $this->retry() : $bytes;
        }

        $bytes = $this->rest;
        $this->rest = '';

        return $this->assemble($bytes, $body);
    }

    public function send(string $bytes, string $more = ''): void
    {
        if ($more !== '') {
            $this->sendBoth($bytes, $more);

            return;
        }
        $length = \strlen($bytes);
        try {
            $sent = @\socket_send($this->socket, $bytes, $length, 0);
        } catch (\Throwable $error) {
            $sent = $this->failed($error);
        }
        if ($sent !== $length) {
            $this->sendRest($bytes, (int) $sent);
        }
    }

    protected function read(int $length, bool $all = false): string
    {
        try {
            $read = @\socket_recv($this->socket, $bytes, $length, $all ? \MSG_WAITALL : 0);
        } catch (\Throwable $error) {
            $read = $this->failed($error);
        }
        if ($read === false) {
            return $this->retry();
        }
        if ($read === 0) {
            throw new Disconnected('the server closed the connection');
        }

        return $bytes;
    }

    /**
     * What a call has returned, where an error handler of the application made an exception of its
     * silenced warning. Any other exception goes on.
     */
    private function failed(\Throwable $error): bool
    {
        if (\socket_last_error($this->socket) === 0) {
            throw $error;
        }

        return false;
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
            $piece = \substr($bytes, $sent, self::PIECE);
            try {
                $count = @\socket_send($this->socket, $piece, \strlen($piece), 0);
            } catch (\Throwable $error) {
                $count = $this->failed($error);
            }
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
