import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type Reason, type ReasonText, reasons } from '../src/core/reasons.ts';

/*
 * `npm run docs:reasons`: generates docs/reasons.md from the table of reasons in the code, so that it is never outdated.
 */
export const reasonsPage: string = path.join(import.meta.dirname, '..', 'docs', 'reasons.md');

/** The places of reasons, in the order of the page, and how to see them. */
const places: readonly { readonly where: string; readonly title: string; readonly look: string }[] = [
  {
    where: 'AddressAssigned',
    title: 'Condition `furiwake.dev/AddressAssigned`',
    look: '`True`: the Service has an address; a reason other than `Assigned` says why it is not the requested one. `False`: it has none.',
  },
  {
    where: 'Serving',
    title: 'Condition `furiwake.dev/Serving`',
    look: '`True`: the load balancer serves the Service, with the limits that the reason names. `False`: it does not.',
  },
  {
    where: 'ports[].error',
    title: 'Errors of a port',
    look: 'In `status.loadBalancer.ingress[].ports[].error`, with the prefix `furiwake.dev/`. A Service without a served port has no address to show them on; its conditions have these reasons instead.',
  },
  {
    where: 'LoadBalancerPortsError',
    title: 'Condition `LoadBalancerPortsError`',
    look: "The API's own condition, present only while a port is not served. Its reason is that of the first such port.",
  },
  {
    where: 'event',
    title: 'Events and log only',
    look: 'In `kubectl describe` and in the log of furiwake.',
  },
];

/** The whole page. Throws `RangeError` when a reason is shown in a place that the page does not have. */
export function renderReasons(table: Readonly<Record<Reason, ReasonText>>): string {
  const entries = Object.entries(table);
  const lost = entries.find(([, { where }]) => !places.some((place) => place.where === where));
  if (lost !== undefined) throw new RangeError(`${lost[0]}: the page has no place for ${lost[1].where}`);
  const sections = places.map(({ where, title, look }) => {
    const own = entries.filter(([, text]) => text.where === where);
    const texts = own.map(([reason, text]) => `\n### ${reason}\n\n${text.means}\n\nWhat to do: ${text.do}\n`);
    return `\n## ${title}\n\n${look}\n${texts.join('')}`;
  });
  return `${head}${sections.join('')}`;
}

const head = `<!-- Generated from src/core/reasons.ts by \`npm run docs:reasons\`: change it there. -->

# Reasons

A reason is one word that explains the state of a Service; a message with names and numbers comes with it. Conditions show
the current state: \`kubectl get service NAME -o yaml\` lists them under \`status.conditions\`. Each change is also an event
(\`kubectl describe service NAME\`) and a line in the log of furiwake. This prints all conditions of all Services:

\`\`\`sh
kubectl get services --all-namespaces --output go-template='{{range .items}}{{$service := .metadata}}{{range .status.conditions}}{{$service.namespace}}/{{$service.name}} {{.type}}={{.status}} {{.reason}}: {{.message}}{{"\\n"}}{{end}}{{end}}'
\`\`\`
`;

if (import.meta.main) await writeFile(reasonsPage, renderReasons(reasons));
