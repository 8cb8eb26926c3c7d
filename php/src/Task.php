<?php

declare(strict_types=1);

namespace Folk;

/** A task of the queue. It counts as done when its handler returns, and as failed when it throws. */
final class Task
{
    /** @param array<string, list<string>> $headers given with the push */
    public function __construct(
        public readonly string $id,
        public readonly string $name,
        public readonly string $queue,
        public readonly int $attempt,
        public readonly array $headers,
        public readonly string $payload,
    ) {
    }

    /**
     * The payload read as JSON, objects as arrays.
     *
     * @throws \JsonException
     */
    public function json(): mixed
    {
        return \json_decode($this->payload, true, 512, \JSON_THROW_ON_ERROR);
    }
}
