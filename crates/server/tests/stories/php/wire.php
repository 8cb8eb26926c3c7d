<?php

declare(strict_types=1);

/** A worker's end of the protocol without the PHP package, so that it can be broken at will. */
final class Wire
{
    public const CONTROL = 0x01;
    public const RAW = 0x04;
    public const JSON = 0x08;
    public const ERROR = 0x40;
    public const PROTO = 0x80;
    public const STREAM = 0x01;

    /** @var resource */
    private $socket;

    /** Connects and says who this is; `$dialect` null is a RoadRunner worker. */
    public function __construct(?string $dialect = 'folk/1')
    {
        $this->socket = stream_socket_client(getenv('RR_RELAY'));
        $this->read();
        $who = ['pid' => getmypid()] + ($dialect === null ? [] : ['dialect' => $dialect]);
        $this->frame(self::CONTROL, json_encode($who));
    }

    /** Context, body and flags of the next request; the process ends where there is none. */
    public function request(): array
    {
        do {
            [$flags, $options, $payload] = $this->read();
            if ($flags & self::CONTROL && (json_decode($payload, true)['stop'] ?? false)) {
                exit(0);
            }
        } while ($flags & self::CONTROL);

        return [substr($payload, 0, $options[0]), substr($payload, $options[0]), $flags];
    }

    /** The path of the next request in the folk dialect. */
    public function path(): string
    {
        return parse_url(unserialize($this->request()[0])[2], PHP_URL_PATH);
    }

    public function answer(string $body, string $context = '', int $flags = self::RAW, int $bits = 0): void
    {
        $this->write(self::head($flags, strlen($context . $body), [strlen($context)], $bits) . $context . $body);
    }

    /** @param list<int> $options */
    public function frame(int $flags, string $payload, array $options = []): void
    {
        $this->write(self::head($flags, strlen($payload), $options) . $payload);
    }

    /** The number of the last request, which its answer repeats. */
    public static string $tag = "\0";

    /** @param list<int> $options */
    public static function head(int $flags, int $length, array $options = [], int $bits = 0): string
    {
        $start = pack('CCV', 0x13 + count($options), $flags, $length);

        return $start . pack('VCaV*', crc32($start), $bits, self::$tag, ...$options);
    }

    public function write(string $bytes): void
    {
        for ($sent = 0; $sent < strlen($bytes); $sent += $count) {
            $count = fwrite($this->socket, substr($bytes, $sent));
            if ($count === false || $count === 0) {
                exit(1);
            }
        }
    }

    public function close(): void
    {
        fclose($this->socket);
    }

    /** @return array{int, list<int>, string} flags, options, payload */
    private function read(): array
    {
        $head = $this->bytes(12);
        if ((ord($head[1]) & self::CONTROL) === 0 && ord($head[10]) === 0) {
            self::$tag = $head[11];
        }
        $options = $this->bytes(4 * ((ord($head[0]) & 0x0f) - 3));

        return [ord($head[1]), array_values(unpack('V*', $options) ?: []), $this->bytes(unpack('V', $head, 2)[1])];
    }

    private function bytes(int $length): string
    {
        for ($bytes = ''; strlen($bytes) < $length; $bytes .= $more) {
            $more = fread($this->socket, $length - strlen($bytes));
            if ($more === false || $more === '') {
                exit(0); // the server is gone
            }
        }

        return $bytes;
    }
}
