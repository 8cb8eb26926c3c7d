<?php

declare(strict_types=1);

namespace Folk;

/** A call of the server failed; the message is the server's own where it gave one. */
final class RpcException extends \RuntimeException
{
}
