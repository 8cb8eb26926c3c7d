<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal the server is gone, so there is nobody to work for */
final class Disconnected extends \RuntimeException
{
}
