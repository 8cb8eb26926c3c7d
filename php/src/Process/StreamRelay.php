<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal frames over PHP streams: pipes, or a Unix socket where ext-sockets is missing */
final class StreamRelay extends Wire
{
    /**
     * @param resource $in
     * @param resource $out
     */
    public function __construct(private $in, private $out)
    {
        // Unbuffered, a read asks the system once and takes what is there.
        \stream_set_read_buffer($in, 0);
        \stream_set_write_buffer($out, 0);
        // An idle worker waits for as long as there is nothing to do.
        \stream_set_timeout($in, 10 * 365 * 86400);
        \stream_set_timeout($out, 10 * 365 * 86400);
    }

    /** Connects to the socket at $path. */
    public static function connect(string $path): self
    {
        $stream = @\stream_socket_client("unix://$path", $code, $message, 10.0);
        if ($stream === false) {
            throw new Disconnected("cannot connect to $path: $message");
        }

        return new self($stream, $stream);
    }

    public function receive(?string &$body = null): string
    {
        $bytes = $this->rest === '' ? $this->read(self::CHUNK) : $this->rest;
        $this->rest = '';
        // Nearly always all of one frame has come, and nothing else.
        if (\strlen($bytes) > Frame::HEAD && Frame::length($bytes) === \strlen($bytes)) {
            return $bytes;
        }

        return $this->assemble($bytes, $body);
    }

    public function send(string $bytes, string $more = ''): void
    {
        if ($more !== '') {
            $this->sendBoth($bytes, $more);

            return;
        }
        $length = \strlen($bytes);
        $sent = @\fwrite($this->out, $bytes);
        if ($sent === $length) {
            return;
        }
        $this->torn = true;
        for ($tries = 0; $sent < $length; ) {
            $count = @\fwrite($this->out, \substr($bytes, (int) $sent, self::PIECE));
            // A write that a signal interrupts writes nothing; one that fails goes on to.
            $tries = $count ? 0 : $tries + 1;
            if ($tries > 3) {
                throw new Disconnected('the connection to the server broke');
            }
            $sent = (int) $sent + (int) $count;
        }
        $this->torn = false;
    }

    protected function read(int $length, bool $all = false): string
    {
        $bytes = @\fread($this->in, $length);
        if (($bytes === '' || $bytes === false) && \feof($this->in)) {
            throw new Disconnected('the server closed the connection');
        }

        return (string) $bytes;
    }
}
