<?php

declare(strict_types=1);

/* Receives a large request from memory, and says whether its body came whole. */

use Folk\Process\Frame;
use Folk\Process\StreamRelay;

require __DIR__ . '/../../autoload.php';

\set_error_handler(static fn(int $level, string $text) => throw new ErrorException($text, 0, $level));
$sent = \str_repeat(\random_bytes(1024), 10 << 10);
$in = \fopen('php://memory', 'w+');
\fwrite($in, Frame::encode(Frame::RAW, "context$sent", [7]));
\rewind($in);
$frame = (new StreamRelay($in, \fopen('php://memory', 'w')))->receive($body);
echo \substr($frame, Frame::REQUEST_HEAD), ' ', $body === $sent ? 'whole' : 'changed';
