import { backendsAnnotation, dataplaneAnnotation } from '../model/contract.ts';
import type { Annotation, OptionAnnotation, ServiceSpec } from '../model/service.ts';
import { backendsTrouble, dataplaneTrouble, needsDirect, requestedDataplane } from './dataplane.ts';
import { decodeProxyOptions } from './decode-options.ts';

/** What is wrong with defaults, in the words of the condition for such an annotation on a Service. */
export function defaultTroubles(defaults: readonly Annotation[]): readonly string[] {
  return [
    ...dataplaneTrouble(textOf(defaults, dataplaneAnnotation)),
    ...backendsTrouble(textOf(defaults, backendsAnnotation)),
    ...decodeProxyOptions({ options: optionsOf(defaults), ports: [] }).problems,
  ];
}

/**
 * The spec as if it had the annotations `defaults`, which the Service does not have itself. What the Service asks for by its own
 * annotations and fields has precedence:
 *
 *   dataplane    not nat or direct for a Service with annotations of its own for HAProxy
 *   backends     only if HAProxy serves all its ports, and it does not need `direct`
 *   all others   only if HAProxy serves a port
 */
export function withDefaults(spec: ServiceSpec, defaults: readonly Annotation[]): ServiceSpec {
  if (defaults.length === 0) return spec;
  const asked = spec.dataplane ?? textOf(defaults, dataplaneAnnotation);
  const [isHaproxyAsked, isOwnForHaproxy] = [isHaproxy(asked), spec.options.length > 0 || spec.backends !== undefined];
  const dataplane = isHaproxyAsked || !isOwnForHaproxy ? asked : spec.dataplane;
  const tcp = isHaproxy(dataplane) ? spec.ports.filter(({ protocol }) => protocol === 'TCP') : [];
  const mayMove = requestedDataplane({ dataplane }) === undefined && needsDirect(spec);
  const isForPods = tcp.length === spec.ports.length && !mayMove;
  return {
    ...spec,
    dataplane,
    backends: spec.backends ?? (isForPods ? textOf(defaults, backendsAnnotation) : undefined),
    options:
      tcp.length === 0
        ? spec.options
        : [...spec.options, ...optionsOf(defaults)].toSorted(([a], [b]) => (a < b ? -1 : 1)),
  };
}

/** Whether HAProxy serves the TCP ports, unless they move to `direct`. */
function isHaproxy(dataplane: string | undefined): boolean {
  return (requestedDataplane({ dataplane }) ?? 'haproxy') === 'haproxy';
}

function textOf(defaults: readonly Annotation[], wanted: string): string | undefined {
  return defaults.find(([name]) => name === wanted)?.[1];
}

function optionsOf(defaults: readonly Annotation[]): readonly OptionAnnotation[] {
  return defaults.flatMap(([name, text]): readonly OptionAnnotation[] =>
    name === dataplaneAnnotation || name === backendsAnnotation ? [] : [[name, text, 'site']],
  );
}
