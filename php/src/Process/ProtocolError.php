<?php

declare(strict_types=1);

namespace Folk\Process;

/** @internal the two sides do not understand each other */
final class ProtocolError extends \RuntimeException
{
}
