<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal what all relays have in common: putting frames together */
abstract class Wire implements Relay
{
    protected const CHUNK = 65536;
    /** The most that is read or written at once. */
    protected const PIECE = 1 << 20;
    /** Larger bodies go through a file. */
    private const LARGE = 8 << 20;

    /** What came behind the last frame. */
    protected string $rest = '';
    protected bool $torn = false;

    public function isTorn(): bool
    {
        return $this->torn;
    }

    /** Sends a head and a body that is not worth a copy to be behind it. */
    protected function sendBoth(string $head, string $body): void
    {
        $this->torn = true;
        $this->send($head);
        $this->torn = true;
        $this->send($body);
        $this->torn = false;
    }

    /** The next few bytes, at most $length; all of them where the system can wait for all. */
    abstract protected function read(int $length, bool $all = false): string;

    /** Makes a frame of $bytes, which have come so far, and what follows. */
    protected function assemble(string $bytes, ?string &$body): string
    {
        while (\strlen($bytes) < Frame::HEAD) {
            $bytes .= $this->read(self::CHUNK);
        }
        $missing = Frame::length($bytes) - \strlen($bytes);
        if ($missing > 0) {
            return Frame::isRequest($bytes) ? $this->request($bytes, $body) : $this->fill($bytes, $missing);
        }
        if ($missing < 0) {
            $this->rest = \substr($bytes, $missing);
            $bytes = \substr($bytes, 0, $missing);
        }

        return $bytes;
    }

    /** A request whose body is kept apart from the beginning: to cut it out later would double it. */
    private function request(string $bytes, ?string &$body): string
    {
        $length = Frame::length($bytes);
        $bytes = $this->fill($bytes, Frame::REQUEST_HEAD - \strlen($bytes));
        $head = \min($length, Frame::REQUEST_HEAD + Frame::contextLength($bytes));
        $bytes = $this->fill($bytes, $head - \strlen($bytes));
        $body = \substr($bytes, $head);
        $missing = $length - \max($head, \strlen($bytes));
        $body = $missing > self::LARGE ? $this->spool($body, $missing) : $this->fill($body, $missing);

        return \substr($bytes, 0, $head);
    }

    private function fill(string $bytes, int $missing): string
    {
        while ($missing > 0) {
            $piece = $this->read(\min($missing, self::PIECE), true);
            $missing -= \strlen($piece);
            $bytes .= $piece;
        }

        return $bytes;
    }

    /**
     * As fill() does, by way of a temporary file: a string that grows is moved now and then, and takes
     * its memory twice meanwhile; one that is read from a file is made as long as it has to be.
     */
    private function spool(string $bytes, int $missing): string
    {
        try {
            $file = @\tmpfile();
        } catch (\Throwable) {
            $file = false; // an error handler of the application throws what is silenced
        }
        if ($file === false) {
            return $this->fill($bytes, $missing);
        }
        $written = 0;
        for (;;) {
            $count = self::write($file, $bytes);
            $written += $count;
            $bytes = \substr($bytes, $count);
            if ($bytes !== '' || $missing === 0) {
                break; // where the disk is full the rest is kept in memory
            }
            $bytes = $this->read(\min($missing, self::PIECE), true);
            $missing -= \strlen($bytes);
        }
        \ftruncate($file, $written);
        \rewind($file);
        $body = (string) \stream_get_contents($file);
        if (\strlen($body) !== $written) {
            throw new Disconnected('a temporary file cannot be read back');
        }

        return $bytes === '' ? $body : $this->fill($body . $bytes, $missing);
    }

    /** @param resource $file */
    private static function write($file, string $bytes): int
    {
        try {
            return (int) @\fwrite($file, $bytes);
        } catch (\Throwable) {
            return 0;
        }
    }
}
