<?php

declare(strict_types=1);

namespace Folk;

use Folk\Process\Loop;

// A runtime with PHP inside brings this function itself; then its own loop is the one to run.
if (!\function_exists('Folk\serve')) {
    /**
     * Answers requests until the server asks the worker to end, then returns.
     *
     * Whatever ran before it (autoloading, configuration, connections) is done once and stays for
     * all requests.
     *
     * The handler takes a {@see Request} and returns what is to be answered:
     *
     * - a string: 200, text/html
     * - an array or a JsonSerializable: 200, JSON
     * - null: 204
     * - an iterable of strings: 200, text/html, each item sent as soon as it is there
     * - a {@see Response}, or a PSR-7 response
     *
     * What it throws becomes an error page; the worker goes on.
     *
     * @param (callable(Request): mixed)|null $handler answers HTTP requests
     * @param Methods|array<string, callable(mixed): mixed> $methods what plugins may call, by name
     * @param (callable(Task): mixed)|array<string, callable(Task): mixed>|null $tasks runs tasks of
     *        the queue: one callable for all, or one for each task name
     * @param int $gcEvery collect cycles after every so many requests, while nobody waits; 0 leaves
     *        it to PHP
     */
    function serve(
        ?callable $handler = null,
        Methods|array $methods = [],
        callable|array|null $tasks = null,
        int $gcEvery = 0,
    ): void {
        Loop::fromEnvironment($handler, $methods, $tasks, $gcEvery)->run();
    }
}
