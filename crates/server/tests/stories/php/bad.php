<?php

declare(strict_types=1);

/** A worker that breaks the protocol in the way that the path of the request says. */

require __DIR__ . '/wire.php';

function wait_for(string $path): void
{
    while (!file_exists(substr($path, 1))) {
        usleep(2000);
    }
}

$wire = new Wire();
while (true) {
    switch ($path = $wire->path()) {
        case '/pid':
            $wire->answer((string) getmypid());
            break;
        case '/garbage':
            $wire->write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
            sleep(60);
            break;
        case '/checksum':
            $frame = Wire::head(Wire::RAW, 5, [0]);
            $frame[7] = chr(ord($frame[7]) ^ 1);
            $wire->write($frame . 'hello');
            sleep(60);
            break;
        case '/version':
            $wire->write("\x24" . substr(Wire::head(Wire::RAW, 5, [0]), 1) . 'hello');
            sleep(60);
            break;
        case '/context':
            $wire->write(Wire::head(Wire::RAW, 5, [1000]) . 'hello');
            sleep(60);
            break;
        case '/no-option':
            $wire->frame(Wire::RAW, 'hello');
            sleep(60);
            break;
        case '/head':
            $wire->answer('hello', serialize(['OK', []]));
            sleep(60);
            break;
        case '/status':
            $wire->answer('hello', serialize([99999, []]));
            break;
        case '/object':
            $wire->answer('hello', 'O:8:"stdClass":0:{}');
            sleep(60);
            break;
        case '/control':
            $wire->frame(Wire::CONTROL | Wire::JSON, '{"pid":1}');
            sleep(60);
            break;
        case '/4gib':
            $wire->write(Wire::head(Wire::RAW, 0xffffffff, [0]) . 'hello');
            sleep(60);
            break;
        case '/half':
            $wire->write(Wire::head(Wire::RAW, 10, [0]) . 'hello');
            sleep(60);
            break;
        case '/half-head':
            $wire->write(substr(Wire::head(Wire::RAW, 10, [0]), 0, 7));
            sleep(60);
            break;
        case '/nothing':
            sleep(60);
            break;
        case '/close':
            $wire->close();
            sleep(60);
            break;
        case '/half-and-exit':
            $wire->write(Wire::head(Wire::RAW, 10, [0]) . 'hello');
            exit(1);
        case '/stream-and-exit':
            $wire->answer('hello', '', Wire::RAW, Wire::STREAM);
            wait_for($path);
            exit(1);
        case '/stream-and-garbage':
            $wire->answer('hello', '', Wire::RAW, Wire::STREAM);
            wait_for($path);
            $wire->write(str_repeat('garbage ', 10));
            sleep(60);
            break;
        case '/twice':
            // In one go, so that none of them can be a moment later than the other.
            $answers = '';
            foreach (['the first', 'the second'] as $answer) {
                $answers .= Wire::head(Wire::RAW, strlen($answer), [0]) . $answer;
            }
            $wire->write($answers);
            break;
        case '/twice-later':
            $wire->answer('the first');
            usleep(20_000);
            $wire->answer('the second');
            break;
        case '/stdout':
            echo str_repeat("garbage on stdout\n", 100), 'and no end of line';
            $wire->answer('clean');
            break;
        case '/stderr':
            fwrite(STDERR, str_repeat(str_repeat('x', 99) . "\n", 100_000));
            $wire->answer('clean');
            break;
        case '/line':
            fwrite(STDERR, str_repeat('y', 5_000_000));
            $wire->answer('clean');
            break;
        default:
            // Late by design, or nearly so: "/7/300" answers with 7 after 300 ms.
            [, $text, $milliseconds] = explode('/', $path);
            usleep(1000 * (int) $milliseconds);
            $wire->answer($text);
    }
}
