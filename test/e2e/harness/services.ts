import { web, webPort } from './backends.ts';
import { ApiError, type Cluster } from './cluster.ts';
import { eventually } from './eventually.ts';
import { namespace } from './names.ts';

export type Port = {
  readonly name?: string;
  readonly port: number;
  readonly nodePort?: number;
  readonly protocol?: string;
  readonly targetPort?: number;
};
export type Ingress = {
  readonly ip: string;
  readonly ipMode?: string;
  readonly ports?: readonly { readonly port: number; readonly protocol: string; readonly error?: string }[];
};
export type Condition = {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
};
/** The fields of a core/v1 Service that the tests read. */
export type Service = {
  readonly metadata: { readonly name: string; readonly uid: string; readonly finalizers?: readonly string[] };
  readonly spec: { readonly ports: readonly Port[]; readonly clusterIPs: readonly string[] };
  readonly status: {
    readonly loadBalancer: { readonly ingress?: readonly Ingress[] };
    readonly conditions?: readonly Condition[];
  };
};
export type Event = { readonly type: string; readonly reason: string; readonly note: string };

/** The fields that a test sets on a Service; by default it is a load balancer for port 80 of the web Pods. */
export type Wanted = {
  readonly annotations?: Readonly<Record<string, string>>;
  /** Fields of `spec` in addition to the defaults, or instead of them. */
  readonly spec?: Readonly<Record<string, unknown>>;
  /** It outlives the test, until the end of the file. */
  readonly stays?: boolean;
};

/** Services of the tests' namespace, by name. */
export type Services = {
  create(name: string, wanted?: Wanted): Promise<Service>;
  get(name: string): Promise<Service>;
  /** A JSON merge patch of the object. */
  change(name: string, patch: unknown): Promise<Service>;
  /** A JSON merge patch of the status, as another client would write it. */
  writeStatus(name: string, status: unknown): Promise<Service>;
  /** Requests the deletion; furiwake's finalizers keep it until its load balancer is removed. */
  markDeleted(name: string): Promise<void>;
  /** The same; resolves when the API server no longer has it. */
  remove(name: string): Promise<void>;
  /** The existing ones; without `andStaying` only those of the test. */
  left(andStaying?: boolean): readonly string[];
  /** Removes them. */
  removeAll(andStaying?: boolean): Promise<void>;
  /** Its addresses, as soon as it has `count` of them. */
  published(name: string, count?: number): Promise<readonly string[]>;
  /** The condition `furiwake.dev/TYPE`, as soon as its reason is `reason`. */
  condition(name: string, type: 'AddressAssigned' | 'Serving', reason: string): Promise<Condition>;
  events(name: string): Promise<readonly Event[]>;
  /** The event with `reason`, as soon as there is one. */
  event(name: string, reason: string): Promise<Event>;
};

const collection = `/api/v1/namespaces/${namespace}/services`;

export function makeServices(cluster: Cluster): Services {
  /** Name → whether it stays. */
  const made = new Map<string, boolean>();
  const get = (name: string): Promise<Service> => cluster.get(`${collection}/${name}`);

  const events = async (name: string): Promise<readonly Event[]> => {
    const selector = `fieldSelector=regarding.kind=Service,regarding.name=${name}`;
    const path = `/apis/events.k8s.io/v1/namespaces/${namespace}/events?${selector}`;
    return (await cluster.get<{ readonly items: readonly Event[] }>(path)).items;
  };

  const markDeleted = async (name: string): Promise<void> => {
    await cluster.remove(`${collection}/${name}`).catch(ifGone);
  };

  const remove = async (name: string): Promise<void> => {
    await markDeleted(name);
    await eventually(async () => {
      const left = await get(name).catch(ifGone);
      if (left !== undefined) throw new Error(`Service ${name} is still there: ${JSON.stringify(left.metadata)}`);
    });
    made.delete(name);
  };

  const left = (andStaying = false): readonly string[] =>
    [...made].filter(([, stays]) => andStaying || !stays).map(([name]) => name);

  return {
    create: async (name, { annotations = {}, spec = {}, stays = false } = {}) => {
      made.set(name, stays);
      const usual = { type: 'LoadBalancer', selector: web, ports: [{ port: 80, targetPort: webPort }] };
      return cluster.create(collection, {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, namespace, annotations },
        spec: { ...usual, ...spec },
      });
    },
    get,
    change: (name, patch) => cluster.merge(`${collection}/${name}`, patch),
    writeStatus: (name, status) => cluster.merge(`${collection}/${name}/status`, { status }),
    markDeleted,
    remove,
    left,
    removeAll: async (andStaying) => {
      await Promise.all(left(andStaying).map(remove));
    },
    published: (name, count = 1) =>
      eventually(async () => {
        const { status } = await get(name);
        const addresses = (status.loadBalancer.ingress ?? []).map(({ ip }) => ip);
        if (addresses.length === count) return addresses;
        throw new Error(`Service ${name} does not have ${count} addresses: ${JSON.stringify(status)}`);
      }),
    condition: (name, type, reason) =>
      eventually(async () => {
        const { conditions = [] } = (await get(name)).status;
        const found = conditions.find((each) => each.type === `furiwake.dev/${type}`);
        if (found?.reason === reason) return found;
        throw new Error(`Service ${name}: ${type} is not ${reason}: ${JSON.stringify(conditions)}`);
      }),
    events,
    event: (name, reason) =>
      eventually(async () => {
        const all = await events(name);
        const found = all.find((each) => each.reason === reason);
        if (found !== undefined) return found;
        throw new Error(`Service ${name} has no event ${reason}: ${JSON.stringify(all)}`);
      }, 60_000), // many events arrive at one per second
  };
}

function ifGone(error: unknown): undefined {
  if (error instanceof ApiError && error.status === 404) return undefined;
  throw error;
}
