import { afterAll, beforeAll } from 'vitest';
import { type Fate, steeringContract } from '../../../test/contract/steering.ts';
import { proxyPort, startSteeringRig, type SteeringRig } from '../../../test/netns/steering-rig.ts';
import { type Exec, ExecError } from '../../ports/exec.ts';

/** How long a blocked client gets no answer. */
const silenceMs = 3_000;
const mostRanges = 8;
let rig: SteeringRig;

beforeAll(async () => {
  rig = await startSteeringRig();
});
afterAll(() => rig[Symbol.asyncDispose]());

steeringContract('the kernel', async () => {
  const lifetime = new AbortController();
  const { balancer } = rig.lab;
  let isBroken = false;
  const steering = rig.makeNew(
    lifetime.signal,
    limited(balancer.execPort, () => isBroken),
  );
  return {
    steering,
    proxyPort,
    mostRanges,
    fateOf: async ({ address, port }): Promise<Fate> => {
      const answer = await rig.fetchFrom('client', address.text, port, silenceMs);
      if (answer === 'timeout') return 'dropped';
      return answer === `${address.text} ${port} from 10.10.0.2` ? 'steered' : 'refused';
    },
    breakAll: (now) => {
      isBroken = now;
    },
    remove: ({ address, port }) =>
      balancer.nft(`delete element inet furiwake listeners4 { ${address.text} . ${port} }`),
    [Symbol.asyncDispose]: async () => {
      isBroken = false;
      await steering.remove(new AbortController().signal);
      lifetime.abort();
    },
  };
});

/** Programs on a host whose kernel accepts at most `mostRanges` ranges, because the set has a size. */
function limited(exec: Exec, isBroken: () => boolean): Exec {
  const check = (file: string): void => {
    if (file === 'nft' && isBroken()) throw new ExecError('nft', 1, 'Error: Operation not permitted');
  };
  return {
    run: async (file, args, options) => {
      if (args.includes('--file')) check(file);
      const stdin = options.stdin?.replace(/set allowed4 \{.*flags interval;/, `$& size ${mostRanges};`);
      return await exec.run(file, args, stdin === undefined ? options : { ...options, stdin });
    },
    converse: (file, args, signal) => {
      const program = exec.converse(file, args, signal);
      return {
        ...program,
        write: async (text) => {
          check('nft');
          await program.write(text);
        },
        [Symbol.asyncDispose]: () => program[Symbol.asyncDispose](),
      };
    },
  };
}
