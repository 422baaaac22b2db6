{{- define "retort.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 40 characters, so that the longest suffix still fits a DNS label. */}}
{{- define "retort.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "retort.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* include with (dict "root" $ "component" "gateway"), here and below */}}
{{- define "retort.selectorLabels" -}}
app.kubernetes.io/name: {{ include "retort.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "retort.labels" -}}
{{ include "retort.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "retort.metadata" -}}
name: {{ include "retort.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "retort.labels" . | nindent 2 }}
{{- end -}}

{{/* What every pod has in common; include with (dict "root" $ "component" ... "part" .Values.gateway "user" 10001). */}}
{{- define "retort.podSpec" -}}
serviceAccountName: {{ include "retort.fullname" .root }}-{{ .component }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What every container has in common; same arguments. */}}
{{- define "retort.container" -}}
name: {{ .component }}
image: {{ printf "%s:%s" .part.image.repository (.part.image.tag | default .root.Chart.AppVersion) | quote }}
imagePullPolicy: {{ .part.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources: {{- toYaml .part.resources | nindent 2 }}
{{- end -}}

{{- define "retort.secretName" -}}
{{- .Values.auth.existingSecret | default (printf "%s-api-keys" (include "retort.fullname" .)) -}}
{{- end -}}

{{- define "retort.claimName" -}}
{{- .Values.modelRepository.existingClaim | default (printf "%s-model-repository" (include "retort.fullname" .)) -}}
{{- end -}}
