import { ipCommandsContract } from '../../test/contract/ip-commands.ts';
import { makeFakeIp } from '../../test/make/fake-ip.ts';
import { systemClock } from '../main/node/clock.ts';

ipCommandsContract('in memory', async () => ({
  exec: makeFakeIp({ clock: systemClock }).exec,
  [Symbol.asyncDispose]: async () => undefined,
}));
