<?php

declare(strict_types=1);

/* A PSR-15 handler on nyholm/psr7, without the interface of PSR-15 itself. */

use Nyholm\Psr7\Factory\Psr17Factory;
use Nyholm\Psr7\Response;
use Nyholm\Psr7\Stream;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestInterface;
use Psr\Http\Message\UploadedFileInterface;

require __DIR__ . '/../bootstrap.php';

$application = new class {
    public function handle(ServerRequestInterface $request): ResponseInterface
    {
        switch ($request->getUri()->getPath()) {
            case '/plain':
                return new Response(201, ['X-A' => ['1', '2']], 'plain');
            case '/none':
                return new Response(204);
            case '/large':
                $file = \fopen('php://temp', 'w+');
                \fwrite($file, \str_repeat('L', 3 << 20));

                return new Response(200, ['Content-Type' => 'text/plain'], Stream::create($file));
            case '/kept':
                static $kept = null;

                return $kept ??= new Response(200, [], Stream::create(\str_repeat('K', 2 << 20)));
            case '/unknown-size':
                return new Response(200, [], Stream::create(\popen('printf unknown', 'r')));
        }
        $files = [];
        foreach ($request->getUploadedFiles() as $field => $entries) {
            $entries = \is_array($entries) ? $entries : [$entries];
            \array_walk_recursive($entries, static function (UploadedFileInterface $file, $key) use (&$files, $field): void {
                $files[] = [
                    $field, $key, $file->getClientFilename(), $file->getClientMediaType(), $file->getSize(), $file->getError(),
                    $file->getError() === \UPLOAD_ERR_OK ? (string) $file->getStream() : null,
                ];
            });
        }

        return new Response(200, [], \serialize([
            'method' => $request->getMethod(),
            'uri' => (string) $request->getUri(),
            'target' => $request->getRequestTarget(),
            'version' => $request->getProtocolVersion(),
            'headers' => $request->getHeaders(),
            'query' => $request->getQueryParams(),
            'cookies' => $request->getCookieParams(),
            'parsed' => $request->getParsedBody(),
            'body' => (string) $request->getBody(),
            'files' => $files,
            'id' => $request->getAttribute('request_id'),
            'server' => $request->getServerParams(),
        ]));
    }
};

Folk\serve(Folk\Worker::psr15($application, new Psr17Factory()));
