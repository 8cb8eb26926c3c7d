<?php

declare(strict_types=1);

namespace Folk\Psr;

use Folk\Request;
use Folk\Response;
use Psr\Http\Message\ResponseInterface;
use Psr\Http\Message\ServerRequestFactoryInterface;
use Psr\Http\Message\StreamFactoryInterface;
use Psr\Http\Message\UploadedFileFactoryInterface;
use Psr\Http\Message\UriFactoryInterface;

/** A handler for {@see \Folk\serve()} that serves a PSR-15 application. */
final class Psr15Handler
{
    private \Closure $application;
    private ServerRequests $requests;

    /**
     * @param object|callable $handler has a method handle() as PSR-15 says, or is a callable that
     *        takes a ServerRequestInterface and returns a ResponseInterface
     */
    public function __construct(
        object|callable $handler,
        object $requests,
        ?object $uris = null,
        ?object $uploads = null,
        ?object $streams = null,
    ) {
        // By its method and not by its interface, whose package need not be there.
        $this->application = match (true) {
            \is_object($handler) && \method_exists($handler, 'handle') => $handler->handle(...),
            \is_callable($handler) => \Closure::fromCallable($handler),
            default => throw new \InvalidArgumentException(
                \get_debug_type($handler) . ' has no method handle() and cannot be called'
            ),
        };
        $this->requests = new ServerRequests(
            self::factory($requests, $requests, ServerRequestFactoryInterface::class, 'requests'),
            self::factory($uris, $requests, UriFactoryInterface::class, 'uris'),
            self::factory($uploads, $requests, UploadedFileFactoryInterface::class, 'uploads'),
            self::factory($streams, $requests, StreamFactoryInterface::class, 'streams'),
        );
    }

    public function __invoke(Request $request): Response
    {
        try {
            $psrRequest = $this->requests->create($request);
        } catch (\InvalidArgumentException $error) {
            // Stricter than HTTP itself, the implementation refused something the client sent.
            return Response::text("bad request: {$error->getMessage()}\n", 400);
        }
        $response = ($this->application)($psrRequest);
        if (!$response instanceof ResponseInterface) {
            throw new \UnexpectedValueException(
                'a PSR-15 handler returns a ' . ResponseInterface::class . ', not ' . \get_debug_type($response)
            );
        }

        return PsrResponse::convert($response);
    }

    /**
     * @template T of object
     *
     * @param class-string<T> $interface
     *
     * @return T
     */
    private static function factory(?object $factory, object $fallback, string $interface, string $argument): object
    {
        $factory ??= $fallback;
        if (!$factory instanceof $interface) {
            throw new \InvalidArgumentException("$argument: " . \get_debug_type($factory) . " is no $interface");
        }

        return $factory;
    }
}
