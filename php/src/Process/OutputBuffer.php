<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal the innermost output buffer */
final class OutputBuffer
{
    /**
     * Whether it may be closed. To try and fail raises a notice, of which an error handler of the
     * application may make an exception even where it is silenced.
     */
    public static function isRemovable(): bool
    {
        return (bool) ((\ob_get_status()['flags'] ?? 0) & \PHP_OUTPUT_HANDLER_REMOVABLE);
    }
}
