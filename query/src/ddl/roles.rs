//! Roles.

use sqlparser::ast::{AlterRoleOperation, CreateRole, Expr, Ident, ObjectName, Password, RoleOption, Value};
use stratos_types::{Error, ErrorKind, Result};

use super::sequences::integer;
use super::{Ddl, fold, single_name};
use crate::catalog::Role;

fn reserved(name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        return Err(Error::new(ErrorKind::ReservedName, format!("role name \"{name}\" is reserved"))
            .with_detail("Role names starting with \"pg_\" are reserved."));
    }
    if name == "public" || name == "none" {
        return Err(Error::new(ErrorKind::ReservedName, format!("role name \"{name}\" is reserved")));
    }
    Ok(())
}

fn string(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a text is what Postgres takes for an MD5 hash: `md5` and 32 hexadecimal digits.
fn is_md5_hash(text: &str) -> bool {
    let digits = text.strip_prefix("md5").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Ddl<'_, '_> {
    fn may_manage_roles(&self, what: &str) -> Result<()> {
        let role = self.role()?;
        if role.superuser || role.create_role {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InsufficientPrivilege, format!("permission denied to {what} role")))
    }

    fn may_make_superuser(&self) -> Result<()> {
        if self.role()?.superuser {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InsufficientPrivilege, "must be superuser to create superusers"))
    }

    fn password(&self, password: &Password) -> Result<Option<String>> {
        match password {
            Password::NullPassword => Ok(None),
            Password::Password(expression) => {
                let text = string(expression).ok_or_else(|| {
                    Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{expression}\""))
                })?;
                // A verifier is taken as it is, so that dumps of roles can be read back. What is none is a password.
                if crate::scram::parse(text).is_some() {
                    return Ok(Some(text.to_owned()));
                }
                // As a password it would let in whoever has read the hash.
                if is_md5_hash(text) {
                    return Err(Error::unsupported("MD5 hash of a password"));
                }
                if text.is_empty() {
                    return Ok(None);
                }
                (self.context.verifier)(text).map(Some)
            }
        }
    }

    pub(super) fn create_user(&mut self, create: &CreateRole) -> Result<&'static str> {
        let mut create = create.clone();
        create.login.get_or_insert(true);
        self.create_role(&create)
    }

    pub(super) fn create_role(&mut self, create: &CreateRole) -> Result<&'static str> {
        self.may_manage_roles("create")?;
        if create.if_not_exists {
            return Err(Error::new(ErrorKind::SyntaxError, "syntax error at or near \"NOT\""));
        }
        refuse_attributes(create)?;
        for name in &create.names {
            let name = single_name(name)?;
            reserved(&name)?;
            if self.snapshot().role_named(&name).is_some() {
                return Err(Error::new(ErrorKind::DuplicateObject, format!("role \"{name}\" already exists")));
            }
            if create.superuser == Some(true) {
                self.may_make_superuser()?;
            }
            let verifier = create.password.as_ref().map_or(Ok(None), |password| self.password(password))?;
            let oid = self.oid()?;
            self.editor.put_role(Role {
                oid,
                name,
                verifier,
                login: create.login.unwrap_or(false),
                superuser: create.superuser.unwrap_or(false),
                create_db: create.create_db.unwrap_or(false),
                create_role: create.create_role.unwrap_or(false),
                connection_limit: create.connection_limit.as_ref().map_or(Ok(None), connection_limit)?,
            })?;
        }
        Ok("CREATE ROLE")
    }

    pub(super) fn alter_role(&mut self, name: &Ident, operation: &AlterRoleOperation) -> Result<&'static str> {
        let name = fold(name);
        let oid = match name.as_str() {
            "current_user" | "current_role" | "session_user" => self.context.role,
            name => self.role_oid(name)?,
        };
        let Some(role) = self.snapshot().roles.get(&oid) else {
            return Err(Error::internal("a role is gone"));
        };
        let mut role = Role::clone(role);
        match operation {
            AlterRoleOperation::RenameRole { role_name } => {
                self.may_manage_roles("rename")?;
                if role.superuser {
                    self.may_alter_superuser(oid)?;
                }
                if oid == self.context.role {
                    return Err(Error::new(ErrorKind::FeatureNotSupported, "session user cannot be renamed"));
                }
                let new_name = fold(role_name);
                reserved(&new_name)?;
                if self.snapshot().role_named(&new_name).is_some() {
                    return Err(Error::new(ErrorKind::DuplicateObject, format!("role \"{new_name}\" already exists")));
                }
                role.name = new_name;
            }
            AlterRoleOperation::WithOptions { options } => {
                for option in options {
                    // Everybody may change the own password.
                    if !(oid == self.context.role && matches!(option, RoleOption::Password(_))) {
                        self.may_manage_roles("alter")?;
                    }
                    if role.superuser {
                        self.may_alter_superuser(oid)?;
                    }
                    self.role_option(&mut role, option)?;
                }
            }
            AlterRoleOperation::AddMember { .. } | AlterRoleOperation::DropMember { .. } => {
                return Err(Error::unsupported("role membership"));
            }
            AlterRoleOperation::Set { .. } | AlterRoleOperation::Reset { .. } => {
                return Err(Error::unsupported("ALTER ROLE SET"));
            }
        }
        self.editor.put_role(role)?;
        Ok("ALTER ROLE")
    }

    fn may_alter_superuser(&self, oid: u32) -> Result<()> {
        if oid == self.context.role || self.role()?.superuser {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InsufficientPrivilege,
            "must be superuser to alter superuser roles or change superuser attribute",
        ))
    }

    fn role_option(&self, role: &mut Role, option: &RoleOption) -> Result<()> {
        match option {
            RoleOption::SuperUser(value) => {
                if *value != role.superuser {
                    self.may_make_superuser()?;
                }
                role.superuser = *value;
            }
            RoleOption::CreateDB(value) => role.create_db = *value,
            RoleOption::CreateRole(value) => role.create_role = *value,
            RoleOption::Login(value) => role.login = *value,
            RoleOption::Password(password) => role.verifier = self.password(password)?,
            RoleOption::Inherit(true) | RoleOption::BypassRLS(false) | RoleOption::Replication(false) => {}
            RoleOption::ConnectionLimit(limit) => role.connection_limit = connection_limit(limit)?,
            RoleOption::ValidUntil(until) if string(until) == Some("infinity") => {}
            other => return Err(Error::unsupported(format!("role attribute {other}"))),
        }
        Ok(())
    }

    pub(super) fn drop_roles(&mut self, names: &[ObjectName], if_exists: bool) -> Result<()> {
        self.may_manage_roles("drop")?;
        for name in names {
            let name = single_name(name)?;
            let Some(role) = self.snapshot().role_named(&name).cloned() else {
                if if_exists {
                    self.notice(format!("role \"{name}\" does not exist, skipping"));
                    continue;
                }
                return Err(Error::new(ErrorKind::UndefinedObject, format!("role \"{name}\" does not exist")));
            };
            if role.oid == self.context.role {
                return Err(Error::new(ErrorKind::ObjectInUse, "current user cannot be dropped"));
            }
            if role.superuser && !self.role()?.superuser {
                return Err(Error::new(ErrorKind::InsufficientPrivilege, "must be superuser to drop superusers"));
            }
            let owned = self.owned_by(role.oid);
            if !owned.is_empty() {
                return Err(Error::new(
                    ErrorKind::DependentObjectsStillExist,
                    format!("role \"{name}\" cannot be dropped because some objects depend on it"),
                )
                .with_detail(owned.join("\n")));
            }
            self.editor.remove_role(role.oid);
        }
        Ok(())
    }

    /// What a role owns in this database, and databases. Other databases' objects keep the number of a role that is gone.
    fn owned_by(&self, role: u32) -> Vec<String> {
        let snapshot = self.snapshot();
        let databases =
            snapshot.databases.values().filter(|d| d.owner == role).map(|d| format!("owner of database {}", d.name));
        let schemas =
            snapshot.schemas.values().filter(|s| s.owner == role).map(|s| format!("owner of schema {}", s.name));
        let tables = snapshot.tables.values().filter(|t| t.owner == role).map(|t| format!("owner of table {}", t.name));
        let sequences = snapshot
            .sequences
            .values()
            .filter(|s| s.owner == role && s.owned_by.is_none())
            .map(|s| format!("owner of sequence {}", s.name));
        databases.chain(schemas).chain(tables).chain(sequences).collect()
    }
}

/// `CONNECTION LIMIT n`; -1 is none.
fn connection_limit(limit: &Expr) -> Result<Option<u32>> {
    let number = integer(limit)?;
    if number == -1 {
        return Ok(None);
    }
    match u32::try_from(number).ok().filter(|number| i32::try_from(*number).is_ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::new(ErrorKind::InvalidParameterValue, format!("invalid connection limit: {number}"))),
    }
}

fn refuse_attributes(create: &CreateRole) -> Result<()> {
    let attributes = [
        (create.inherit == Some(false), "NOINHERIT"),
        (create.bypassrls == Some(true), "BYPASSRLS"),
        (create.replication == Some(true), "REPLICATION"),
        (create.valid_until.as_ref().is_some_and(|until| string(until) != Some("infinity")), "VALID UNTIL"),
        (!create.in_role.is_empty() || !create.in_group.is_empty(), "IN ROLE"),
        (!create.role.is_empty() || !create.user.is_empty(), "ROLE"),
        (!create.admin.is_empty(), "ADMIN"),
        (create.authorization_owner.is_some(), "AUTHORIZATION"),
    ];
    match attributes.iter().find(|(present, _)| *present) {
        Some((_, attribute)) => Err(Error::unsupported(format!("role attribute {attribute}"))),
        None => Ok(()),
    }
}
