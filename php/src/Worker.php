<?php

declare(strict_types=1);

namespace Folk;

use Folk\Process\Loop;
use Folk\Psr\Psr15Handler;

/**
 * The worker this code runs in.
 *
 * Between two requests the loop closes output buffers that the handler left open (their content
 * goes to the log) and restores the time limit. Everything else an application changes for good
 * stays changed: static and global variables, ini settings, error handlers, the working directory,
 * the locale, the time zone, open connections and transactions. {@see onReset()} is the place to
 * put such things back. Superglobals are never filled, and header(), setcookie() and sessions of
 * PHP itself have no effect: use {@see Request} and {@see Response}.
 */
final class Worker
{
    /** @var list<\Closure(): mixed> */
    private static array $resets = [];

    private function __construct()
    {
    }

    /**
     * Has $hook called after each answer, before the next request. A hook that throws ends the
     * worker, because nobody knows what state it is in; the server starts another.
     */
    public static function onReset(callable $hook): void
    {
        self::$resets[] = \Closure::fromCallable($hook);
    }

    /** Ends the worker once the running request is answered; the server starts another. */
    public static function stop(): void
    {
        Loop::stop();
    }

    /**
     * A handler for {@see serve()} from a PSR-15 handler, or from a callable that takes a PSR-7
     * ServerRequestInterface and returns a ResponseInterface.
     *
     * The factories are PSR-17's. One object that is all of them (as that of nyholm/psr7 is) need be
     * given once only.
     *
     * @param object|callable $handler a Psr\Http\Server\RequestHandlerInterface, or a callable
     * @param object $requests Psr\Http\Message\ServerRequestFactoryInterface
     * @param object|null $uris Psr\Http\Message\UriFactoryInterface
     * @param object|null $uploads Psr\Http\Message\UploadedFileFactoryInterface
     * @param object|null $streams Psr\Http\Message\StreamFactoryInterface
     */
    public static function psr15(
        object|callable $handler,
        object $requests,
        ?object $uris = null,
        ?object $uploads = null,
        ?object $streams = null,
    ): Psr15Handler {
        return new Psr15Handler($handler, $requests, $uris, $uploads, $streams);
    }

    /** @internal called by the loop */
    public static function reset(): void
    {
        foreach (self::$resets as $reset) {
            $reset();
        }
    }
}
