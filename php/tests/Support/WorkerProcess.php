<?php

declare(strict_types=1);

namespace Folk\Tests\Support;

use Folk\Process\Frame;

/** A real PHP worker and the server's end of its connection. Every wait has a deadline. */
final class WorkerProcess
{
    private const PATIENCE = 10.0;

    /** @var array<string, mixed> what it said of itself */
    public array $hello = [];
    private string $directory;
    /** @var resource|null */
    private $process;
    /** @var resource */
    private $in;
    /** @var resource */
    private $out;
    private string $buffer = '';
    private static string $tag = "\0";
    private ?int $exitCode = null;

    /**
     * @param 'unix'|'pipes' $relay
     * @param list<string> $options of the php command
     * @param array<string, string> $env
     */
    public function __construct(
        string $script,
        private string $relay = 'unix',
        array $options = [],
        array $env = [],
    ) {
        $this->directory = \sys_get_temp_dir() . '/folk-sdk-' . \bin2hex(\random_bytes(6));
        \mkdir($this->directory, 0700);
        $address = "unix://{$this->directory}/worker.sock";
        $listener = null;
        if ($relay === 'unix') {
            $listener = \stream_socket_server($address);
        }
        $pipes = [];
        $this->process = \proc_open(
            [\PHP_BINARY, ...$options, $script[0] === '/' ? $script : __DIR__ . "/../workers/$script"],
            [
                $relay === 'pipes' ? ['pipe', 'r'] : ['file', '/dev/null', 'r'],
                $relay === 'pipes' ? ['pipe', 'w'] : ['file', "{$this->directory}/stdout", 'a'],
                ['file', "{$this->directory}/stderr", 'a'],
            ],
            $pipes,
            null,
            ['RR_RELAY' => $relay === 'pipes' ? 'pipes' : $address, 'RR_MODE' => 'http'] + $env,
        );
        if ($listener !== null) {
            $connection = @\stream_socket_accept($listener, self::PATIENCE);
            if ($connection === false) {
                $text = $this->stderr() . $this->stdout();
                $this->kill();
                throw new \RuntimeException("the worker did not connect: $text");
            }
            \fclose($listener);
            $this->in = $this->out = $connection;
        } else {
            [$this->out, $this->in] = [$pipes[0], $pipes[1]];
        }
        \stream_set_blocking($this->in, false);
        \stream_set_blocking($this->out, false);
        \stream_set_read_buffer($this->in, 0);
        $this->send(Frame::encode(Frame::CONTROL | Frame::JSON, '{"pid":1}'));
        $this->hello = (array) \json_decode($this->frame()->payload, true);
    }

    public function __destruct()
    {
        $this->kill();
        foreach (\glob("{$this->directory}/*") ?: [] as $file) {
            \unlink($file);
        }
        @\rmdir($this->directory);
    }

    public function pid(): int
    {
        return \proc_get_status($this->process)['pid'];
    }

    /** @param array<string, list<string>> $headers */
    public function get(string $target, array $headers = []): Answer
    {
        return $this->http('GET', $target, $headers);
    }

    /**
     * @param array<string, list<string>> $headers
     * @param array<array-key, mixed>|null $parsed
     * @param array<array-key, mixed>|null $uploads
     */
    public function http(
        string $method,
        string $target,
        array $headers = [],
        string $body = '',
        ?array $parsed = null,
        ?array $uploads = null,
    ): Answer {
        $this->request(self::context($method, $target, $headers, $parsed, $uploads), $body);

        return $this->answer();
    }

    /**
     * @param array<string, list<string>> $headers
     * @param array<array-key, mixed>|null $parsed
     * @param array<array-key, mixed>|null $uploads
     *
     * @return list<mixed>
     */
    public static function context(
        string $method = 'GET',
        string $target = '/',
        array $headers = [],
        ?array $parsed = null,
        ?array $uploads = null,
    ): array {
        return [
            'http', $method, $target, 'HTTP/1.1', 'example.org:8080', false, '192.0.2.7', 40000,
            '127.0.0.1', 8080, 'request-1', $headers, $parsed, $uploads,
        ];
    }

    /** @param list<mixed> $context */
    public function request(array $context, string $body = ''): void
    {
        $this->send(self::encode($context, $body));
    }

    /** @param list<mixed> $context */
    public static function encode(array $context, string $body = ''): string
    {
        $context = \serialize($context);

        return self::tagged(Frame::encode(Frame::RAW, $context . $body, [\strlen($context)]));
    }

    /** Numbers a request, as its answer must be numbered. */
    public static function tagged(string $frame): string
    {
        return \substr_replace($frame, self::$tag = \chr(\random_int(1, 255)), Frame::TAG, 1);
    }

    /** Reads a whole answer, answering each PING by a PONG, or by a STOP once $stopAt came. */
    public function answer(?int $stopAt = null, string $beginning = ''): Answer
    {
        $this->buffer = $beginning . $this->buffer;
        $answer = new Answer();
        do {
            $frame = $this->frame();
            $answer->add($frame);
            if ($frame->stream & Frame::PING) {
                $stop = ++$answer->pings === $stopAt;
                $this->send(Frame::encode(Frame::CONTROL, '', [], $stop ? Frame::STOP : Frame::PONG));
            }
        } while ($frame->stream & Frame::STREAM);

        return $answer;
    }

    public function send(string $bytes): void
    {
        $deadline = \microtime(true) + self::PATIENCE;
        for ($sent = 0; $sent < \strlen($bytes); ) {
            $this->await([], [$this->out], $deadline);
            $count = @\fwrite($this->out, \substr($bytes, $sent, 1 << 20));
            if ($count === false) {
                throw new \RuntimeException('the worker is gone');
            }
            $sent += $count;
        }
    }

    /** The next few bytes of whatever comes; given back to answer(), they are part of it. */
    public function part(int $length): string
    {
        $this->await([$this->in], [], \microtime(true) + self::PATIENCE);

        return (string) \fread($this->in, $length);
    }

    public function frame(): Frame
    {
        $frame = $this->nextFrame();
        if ($frame === null) {
            throw new \RuntimeException("the worker closed the connection; it said: {$this->stderr()}{$this->stdout()}");
        }

        return $frame;
    }

    /** The next frame; null at the end of the connection. */
    public function nextFrame(): ?Frame
    {
        $deadline = \microtime(true) + self::PATIENCE;
        for (;;) {
            if (\strlen($this->buffer) >= Frame::HEAD) {
                $length = Frame::length($this->buffer);
                if (\strlen($this->buffer) >= $length) {
                    $bytes = \substr($this->buffer, 0, $length);
                    $this->buffer = \substr($this->buffer, $length);

                    return self::checked($bytes);
                }
            }
            $this->await([$this->in], [], $deadline);
            $read = \fread($this->in, 1 << 20);
            if (($read === '' || $read === false) && \feof($this->in)) {
                return null;
            }
            $this->buffer .= $read;
        }
    }

    /** Waits until it waits itself, as far as the system lets one see that. */
    public function awaitSleep(): void
    {
        $deadline = \microtime(true) + self::PATIENCE;
        $stat = "/proc/{$this->pid()}/stat";
        while (\is_readable($stat) && \preg_match('/\) S /', (string) \file_get_contents($stat)) !== 1) {
            if (\microtime(true) > $deadline) {
                throw new \RuntimeException('the worker does not come to rest');
            }
            \usleep(1000);
        }
    }

    /** Goes away as a server does that was killed. */
    public function disconnect(): void
    {
        \fclose($this->in);
    }

    /** Whether nothing comes for a moment. */
    public function isSilent(float $seconds = 0.05): bool
    {
        [$read, $write, $except] = [[$this->in], [], []];

        return $this->buffer === '' && \stream_select($read, $write, $except, 0, (int) ($seconds * 1e6)) === 0;
    }

    /** Waits for the end of the process. */
    public function exitCode(): int
    {
        $deadline = \microtime(true) + self::PATIENCE;
        while ($this->exitCode === null) {
            $status = \proc_get_status($this->process);
            if (!$status['running']) {
                $this->exitCode = $status['signaled'] ? 128 + $status['termsig'] : $status['exitcode'];
            } elseif (\microtime(true) > $deadline) {
                throw new \RuntimeException('the worker did not end');
            } else {
                \usleep(1000);
            }
        }

        return $this->exitCode;
    }

    public function stdout(): string
    {
        return (string) @\file_get_contents("{$this->directory}/stdout");
    }

    public function stderr(): string
    {
        return (string) @\file_get_contents("{$this->directory}/stderr");
    }

    private function kill(): void
    {
        if (\is_resource($this->process)) {
            if (\proc_get_status($this->process)['running']) {
                \proc_terminate($this->process, 9);
            }
            \proc_close($this->process);
            $this->process = null;
        }
    }

    private static function checked(string $bytes): Frame
    {
        $frame = Frame::decode($bytes);
        $tag = $frame->flags & Frame::CONTROL ? "\0" : self::$tag;
        if (\unpack('V', $bytes, 6)[1] !== \crc32(\substr($bytes, 0, 6)) || $bytes[Frame::TAG] !== $tag) {
            throw new \UnexpectedValueException('the head of a frame is wrong');
        }

        return $frame;
    }

    /**
     * @param list<resource> $read
     * @param list<resource> $write
     */
    private function await(array $read, array $write, float $deadline): void
    {
        $except = [];
        $left = \max(0.0, $deadline - \microtime(true));
        if (\stream_select($read, $write, $except, (int) $left, (int) (\fmod($left, 1) * 1e6)) === 0) {
            throw new \RuntimeException("the worker did not answer in time; it said: {$this->stderr()}{$this->stdout()}");
        }
    }
}
