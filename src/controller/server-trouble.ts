import { makeTrouble } from '../async/trouble.ts';
import type { ServiceKey } from '../core/model/names.ts';
import type { KubeError } from '../kube/errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';

/** One lasting failure for the writes to all Services. */
export type ServerTrouble = {
  failed(service: ServiceKey, error: KubeError): void;
  /** The write to this Service succeeded or is no longer needed, or the API server refused it. */
  over(service: ServiceKey): void;
};

/** The failure ends with the last Service whose write failed: a server that takes every other write does not end it. */
export function makeServerTrouble({ clock, log }: { readonly clock: Clock; readonly log: Log }): ServerTrouble {
  const trouble = makeTrouble({ what: 'writing to Services', log, monotonic: () => clock.monotonic() });
  const unwritten = new Set<ServiceKey>();
  return {
    failed: (service, error) => {
      unwritten.add(service);
      // Without the name of the Service: a message for each would not be one failure.
      trouble.failed(error.message.replace(`${error.verb} ${error.path}: `, ''));
    },
    over: (service) => {
      if (unwritten.delete(service) && unwritten.size === 0) trouble.over();
    },
  };
}
