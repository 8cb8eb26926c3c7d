<?php

declare(strict_types=1);

/*
 * A small application to look around in. Open http://127.0.0.1:8080/ once it is served.
 *
 * What stands here, above Folk\serve(), runs once for each worker and stays for all its requests.
 */

use Folk\Request;
use Folk\Response;

require __DIR__ . '/../../php/autoload.php';

$pages = [
    '/hello' => 'a page with a name in it: /hello?name=you',
    '/json' => 'an array, sent as JSON',
    '/headers' => 'the headers of the request, as JSON',
    '/echo' => 'the body of the request, sent back',
    '/upload' => 'a form with a file',
    '/stream' => 'five chunks, one every 200 ms (or every ?ms=)',
    '/early' => '103 Early Hints before the answer',
    '/pid' => 'the process that answers',
    '/sleep' => 'takes its time: /sleep?ms=500',
    '/throw' => 'an exception that nobody catches',
    '/exit' => 'exit() in the middle of a request',
    '/memory' => 'more memory than there is',
    '/segv' => 'the process kills itself',
];

$escape = static fn(string $text): string => \htmlspecialchars($text, \ENT_QUOTES | \ENT_SUBSTITUTE);

$page = static function (string $title, string $content): Response {
    return Response::html(<<<HTML
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>$title</title>
        <style>
            body { font: 16px/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 42rem; padding: 0 1rem }
            code, pre { background: #8882; border-radius: .2rem; padding: .1rem .3rem }
            li { margin: .3rem 0 }
            :root { color-scheme: light dark }
        </style>
        <h1>$title</h1>
        $content
        </html>
        HTML . "\n");
};

$tour = static function () use ($pages, $page, $escape): Response {
    $items = '';
    foreach ($pages as $path => $what) {
        $items .= "<li><a href=\"$path\"><code>$path</code></a> {$escape($what)}</li>\n";
    }

    return $page('Look around', "<ul>\n$items</ul>\n<p>The last four do harm to their own worker only: try them, then any other.</p>");
};

$upload = static function (Request $request) use ($page, $escape): Response {
    if ($request->method() !== 'POST') {
        return $page('Upload', <<<'HTML'
            <form method="post" enctype="multipart/form-data">
                <p><input name="note" placeholder="a note"> <input type="file" name="files[]" multiple>
                <button>Send</button></p>
            </form>
            HTML);
    }
    $shown = ['fields' => $request->parsedBody(), 'files' => $request->files()];
    // The files themselves are gone after this answer; rename() those worth keeping.
    $json = \json_encode($shown, \JSON_PRETTY_PRINT | \JSON_INVALID_UTF8_SUBSTITUTE | \JSON_UNESCAPED_SLASHES);

    return $page('Uploaded', "<pre>{$escape((string) $json)}</pre>");
};

$stream = static function (int $pause): Generator {
    for ($chunk = 1; $chunk <= 5; ++$chunk) {
        yield "chunk $chunk\n";
        if ($chunk < 5) {
            \usleep($pause * 1000);
        }
    }
};

Folk\serve(static function (Request $request) use ($page, $tour, $upload, $stream, $escape) {
    switch ($request->path()) {
        case '/':
            // A string is the fastest answer there is: 200, text/html.
            return "Hello, world! <a href=\"/tour\">Look around</a>\n";
        case '/tour':
            return $tour();
        case '/hello':
            $name = $request->queryParam('name', 'you');

            return $page('Hello, ' . $escape(\is_string($name) ? $name : 'all of you') . '!', '<p>How nice.</p>');
        case '/json':
            return ['hello' => 'world', 'pid' => \getmypid(), 'php' => \PHP_VERSION];
        case '/headers':
            // Headers are bytes; JSON is not, so what is not UTF-8 is shown as U+FFFD.
            $json = \json_encode($request->headers(), \JSON_PRETTY_PRINT | \JSON_UNESCAPED_SLASHES | \JSON_INVALID_UTF8_SUBSTITUTE);

            return new Response("$json\n", 200, ['content-type' => 'application/json']);
        case '/echo':
            return new Response($request->body(), 200, [
                'content-type' => $request->header('content-type', 'application/octet-stream'),
            ]);
        case '/upload':
            return $upload($request);
        case '/stream':
            $pause = \max(0, (int) $request->queryParam('ms', '200'));

            return Response::stream($stream($pause), 200, ['content-type' => 'text/plain; charset=UTF-8']);
        case '/early':
            $request->earlyHints(['link' => '</style.css>; rel=preload; as=style']);
            \usleep(100_000);

            return "The hint came first.\n";
        case '/pid':
            return Response::text(\getmypid() . "\n");
        case '/sleep':
            $time = \max(0, (int) $request->queryParam('ms', '1000'));
            \usleep($time * 1000);

            return Response::text("slept $time ms\n");
        case '/throw':
            throw new RuntimeException('this was to be expected');
        case '/exit':
            exit('Good bye.');
        case '/memory':
            \ini_set('memory_limit', '32M');
            $hoard = [];
            while (true) {
                $hoard[] = \str_repeat('x', 1 << 20);
            }
        case '/segv':
            \posix_kill(\getmypid(), \SIGKILL);
            \sleep(1);

            return '';
        default:
            return Response::text("no such page\n", 404);
    }
});
