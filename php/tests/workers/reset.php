<?php

declare(strict_types=1);

/* Counts in a static; the reset hooks put it back, or fail when asked to. */

use Folk\Request;
use Folk\Worker;

require __DIR__ . '/../../autoload.php';

final class State
{
    public static int $count = 0;
    public static int $resets = 0;
    public static bool $broken = false;
}

Worker::onReset(static function (): void {
    State::$count = 0;
    if (State::$broken) {
        throw new RuntimeException('cannot reset');
    }
});
Worker::onReset(static fn() => ++State::$resets);

Folk\serve(static function (Request $request): string {
    State::$broken = $request->path() === '/break';

    return \sprintf('count=%d resets=%d', ++State::$count, State::$resets);
}, gcEvery: 2);
