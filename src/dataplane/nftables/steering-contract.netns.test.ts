import { afterAll, beforeAll, describe } from 'vitest';
import { type Fate, steeringContract, type SteeringScene } from '../../../test/contract/steering.ts';
import { limited } from '../../../test/netns/limited-nft.ts';
import { proxyPort, startSteeringRig, type SteeringRig } from '../../../test/netns/steering-rig.ts';

/** How long a blocked client gets no answer. */
const silenceMs = 3_000;
const mostRanges = 8;

describe.each([
  ['the kernel', false],
  ['the kernel, with the client behind a bridge and br_netfilter', true],
])('%s', (name, isBridged) => {
  let rig: SteeringRig;
  beforeAll(async () => {
    rig = await startSteeringRig({ isBridged });
  });
  afterAll(() => rig[Symbol.asyncDispose]());
  steeringContract(name, () => makeScene(rig));
});

async function makeScene(rig: SteeringRig): Promise<SteeringScene> {
  const lifetime = new AbortController();
  const { balancer } = rig.lab;
  let isBroken = false;
  const steering = rig.makeNew(
    lifetime.signal,
    limited(balancer.execPort, mostRanges, () => isBroken),
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
}
