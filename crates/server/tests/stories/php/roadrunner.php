<?php

declare(strict_types=1);

/** A worker as RoadRunner's PHP packages make it; JSON and protobuf written out by hand. */

require __DIR__ . '/wire.php';

/** @return list<array{int, int|string}> number and value of each field */
function fields(string $bytes): array
{
    $at = 0;
    $number = static function () use ($bytes, &$at): int {
        for ($value = 0, $shift = 0; ; $shift += 7) {
            $byte = ord($bytes[$at++]);
            $value |= ($byte & 0x7f) << $shift;
            if ($byte < 0x80) {
                return $value;
            }
        }
    };
    for ($fields = []; $at < strlen($bytes); ) {
        $tag = $number();
        $value = $number();
        if (($tag & 7) === 2) {
            [$at, $value] = [$at + $value, substr($bytes, $at, $value)];
        }
        $fields[] = [$tag >> 3, $value];
    }

    return $fields;
}

/** @return array<string, list<string>> */
function map_of(array $entries): array
{
    $map = [];
    foreach ($entries as $entry) {
        $pair = array_column(fields($entry), 1, 0);
        $map[$pair[1] ?? ''] = array_column(fields($pair[2] ?? ''), 1);
    }

    return $map;
}

function from_proto(string $bytes): array
{
    $by_number = [];
    foreach (fields($bytes) as [$number, $value]) {
        $by_number[$number][] = $value;
    }
    $text = static fn(int $number): string => $by_number[$number][0] ?? '';

    return [
        'remoteAddr' => $text(1),
        'protocol' => $text(2),
        'method' => $text(3),
        'uri' => $text(4),
        'headers' => map_of($by_number[5] ?? []),
        'cookies' => array_map(static fn(array $values) => $values[0], map_of($by_number[6] ?? [])),
        'rawQuery' => $text(7),
        'parsed' => ($by_number[8][0] ?? 0) === 1,
        'uploads' => json_decode($text(9), true),
    ];
}

function varint(int $value): string
{
    for ($bytes = ''; $value >= 0x80; $value >>= 7) {
        $bytes .= chr($value & 0x7f | 0x80);
    }

    return $bytes . chr($value);
}

function field(int $number, string $value): string
{
    return varint($number << 3 | 2) . varint(strlen($value)) . $value;
}

function to_proto(int $status, array $headers): string
{
    $bytes = "\x08" . varint($status);
    foreach ($headers as $name => $values) {
        $list = implode('', array_map(static fn(string $value) => field(1, $value), $values));
        $bytes .= field(2, field(1, $name) . field(2, $list));
    }

    return $bytes;
}

$wire = new Wire(null);
while (true) {
    [$context, $body, $flags] = $wire->request();
    $proto = (bool) ($flags & Wire::PROTO);
    $context = $proto ? from_proto($context) : json_decode($context, true);
    $answer = static fn(int $status, array $headers, string $body, int $bits = 0) => $wire->answer(
        $body,
        $proto ? to_proto($status, $headers) : json_encode(['status' => $status, 'headers' => (object) $headers]),
        $proto ? Wire::PROTO : Wire::JSON,
        $bits,
    );
    switch (parse_url($context['uri'], PHP_URL_PATH)) {
        case '/show':
            $file = $context['uploads']['doc']['tmpName'] ?? null;
            $content = $file === null ? null : file_get_contents($file);
            $answer(200, [], json_encode($context + ['body' => $body, 'content' => $content]));
            break;
        case '/teapot':
            $answer(418, ['Set-Cookie' => ['a=1', 'b=2']], $body);
            break;
        case '/stream':
            $answer(201, [], 'one,', Wire::STREAM);
            $answer(201, [], 'two,', Wire::STREAM);
            $answer(201, [], 'three');
            break;
        default:
            $wire->frame(Wire::ERROR, 'the database is gone');
    }
}
