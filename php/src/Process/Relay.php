<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal carries whole frames between the server and this worker */
interface Relay
{
    /**
     * Waits for the next frame and returns all of its bytes; but where $body is set, that is the
     * body of a large request, which then does not stand behind the context.
     *
     * @throws Disconnected
     */
    public function receive(?string &$body = null): string;

    /**
     * Sends $bytes and then $more, of one frame.
     *
     * @throws Disconnected
     */
    public function send(string $bytes, string $more = ''): void;

    /** Whether a frame was sent in part only, so that nothing can follow it. */
    public function isTorn(): bool;
}
