import { unlessAborted } from '../async/abort.ts';
import { makeTrouble } from '../async/trouble.ts';
import { messageOf } from '../async/error-words.ts';
import type { Clock } from '../ports/clock.ts';
import { type RunningProgram, type Exec, ExecError } from '../ports/exec.ts';
import type { Log } from '../ports/log.ts';
import { type Frame, linesOf } from './frames.ts';

/** Sends announcements, which are never acknowledged. */
export type FrameSender = {
  /**
   * Sends each frame three times in 1.4 s, because a neighbour may miss one. Failures are logged. Resolves then with whether frames could
   * be sent at all; an interface may have refused some.
   */
  announce(frames: readonly Frame[]): Promise<boolean>;
  /** Why no frame could be sent the last time; `undefined`: it could. */
  failure(): string | undefined;
};

const pausesMs = [0, 700, 700];
/** Longer than perl needs for the last frames; after that it is ended. */
const lingerMs = 1000;
/** A perl that does not read in this time is ended; the next announcement starts another. */
const writeMs = 5000;

/*
 * perl is installed on every Debian and opens the packet socket that Node cannot open. It does not interpret the
 * frames: a line is an interface's number and a frame in hex. (arping needs a process for each address and does not
 * support IPv6; the kernel advertises a new address only with ndisc_notify=1, dad_transmits=0 and accept_dad=0 on the
 * interface, which furiwake must not set.)
 */
const script = String.raw`
use strict;
socket(my $link, 17, 3, 0) or die "packet socket: $!\n";                    # AF_PACKET, SOCK_RAW, receives nothing
while (<STDIN>) {
  my ($index, $frame) = split;
  send($link, pack("H*", $frame), 0, pack("SnlSCCx8", 17, 0, $index, 0, 0, 6)) // warn "interface $index: $!\n";
}
`;

/** perl runs while announcements are being sent, and ends with `lifetime`. */
export function makeFrameSender(deps: {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  readonly lifetime: AbortSignal;
}): FrameSender {
  const { exec, clock, log, lifetime } = deps;
  const trouble = makeTrouble({ what: 'announcing addresses', log, clock });
  type Sending = { readonly perl: RunningProgram; users: number; hasEnded: boolean };
  let open: Sending | undefined;
  let failure: string | undefined;

  const start = (): Sending => {
    const perl = exec.spawn('perl', ['-e', script], lifetime);
    const sending = { perl, users: 0, hasEnded: false };
    void perl.exited.then(() => (sending.hasEnded = true));
    return sending;
  };

  const send = async (frames: readonly Frame[]): Promise<void> => {
    const mine = (open ??= start());
    let hasFailed = true;
    mine.users++;
    try {
      for (const pauseMs of pausesMs) {
        await clock.sleep(pauseMs, lifetime);
        using deadline = clock.deadline(writeMs, lifetime);
        await unlessAborted(mine.perl.write(linesOf(frames)), deadline.signal);
      }
      await clock.sleep(lingerMs, lifetime);
      // It never ends by itself.
      if (mine.hasEnded) throw new ExecError('perl', undefined, (await mine.perl.takeErrors()) || 'ended early');
      hasFailed = false;
    } finally {
      mine.users--;
      if (open === mine && mine.users === 0) open = undefined;
      if (mine.users === 0) await close(mine.perl, hasFailed);
    }
  };

  const close = async (perl: RunningProgram, hasFailed: boolean): Promise<void> => {
    const [first = '', ...more] = (await perl.takeErrors()).split('\n');
    await perl[Symbol.asyncDispose]();
    if (lifetime.aborted || hasFailed) return; // it was ended while it was sending
    if (first === '') trouble.over();
    else trouble.failed(more.length === 0 ? first : `${first} (and ${more.length} more)`);
  };

  return {
    announce: async (frames) => {
      if (frames.length === 0) return true;
      try {
        await send(frames);
        failure = undefined;
      } catch (error) {
        if (lifetime.aborted) return true;
        trouble.failed(error);
        failure = messageOf(error);
      }
      return failure === undefined;
    },
    failure: () => failure,
  };
}
